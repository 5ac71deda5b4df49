"""Which addresses that a viewer names are tried at all. Text in, text out.

A server that can be reached needs none of them: it learns the viewer's address from the viewer's own first packet. Only
one that stands behind a NAT, which is what its owner says by naming ICE servers, has to send first. Even then a viewer
must not make it probe a network: few addresses, public ones or the one that the request came from, no system ports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

MAX_CANDIDATES = 8
MIN_PORT = 1_024


def admitted(candidates: Iterable[str], client_host: str, num_before: int = 0) -> list[str]:
    """Those of the lines `candidate:...` that may be tried, when `num_before` were admitted earlier.

    `client_host` is the address that the request came from.
    """
    good = [candidate for candidate in candidates if _is_admitted(candidate, client_host)]
    return good[: max(0, MAX_CANDIDATES - num_before)]


def _is_admitted(candidate: str, client_host: str) -> bool:
    parts = candidate.split()
    if len(parts) < 8 or parts[2].lower() != "udp" or parts[6] != "typ" or not parts[5].isdecimal():
        return False
    try:
        address = ipaddress.ip_address(parts[4])
    except ValueError:  # a name: resolving it would tell others about the viewer
        return False
    reachable = address.is_global and not address.is_multicast
    return (reachable or str(address) == client_host) and MIN_PORT <= int(parts[5]) < 65_536
