"""STUN and TURN servers: as the owner names them, as a browser, a Link header and our own stack want them.

RFC 7064 and 7065 define the addresses, RFC 9725 (section 4.6) the Link header. Text and values only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from avacast.engine.errors import BadSetting

URL = re.compile(r"(stuns?|turns?):([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(\?transport=(udp|tcp))?")


@dataclass(frozen=True)
class IceServer:
    """One server. Only TURN has a name and a password."""

    url: str
    username: str = ""
    credential: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As a browser's `RTCIceServer`."""
        server: dict[str, Any] = {"urls": [self.url]}
        return {**server, "username": self.username, "credential": self.credential} if self.username else server

    def to_link(self) -> str:
        """As the value of a Link header."""
        link = f'<{self.url}>; rel="ice-server"'
        if not self.username:
            return link
        return f'{link}; username="{self.username}"; credential="{self.credential}"; credential-type="password"'


def ice_servers(urls: Sequence[str], username: str = "", credential: str = "") -> tuple[IceServer, ...]:
    """The servers at `urls`; all TURN servers share the name and the password.

    Raises BadSetting for an address that is none, and for a TURN server without name and password.
    """
    if any(character in '"\\<>' or not character.isprintable() for character in username + credential):
        raise BadSetting(
            "an ICE username or credential has no quotes, backslashes, angle brackets or control characters"
        )
    if (username or credential) and not any(url.startswith("turn") for url in urls):
        raise BadSetting("--ice-username and --ice-credential belong to a TURN server; name one with --ice-server")
    return tuple(_server(url, username, credential) for url in urls)


def _server(url: str, username: str, credential: str) -> IceServer:
    match = URL.fullmatch(url)
    if not match or (url.startswith("stun") and match[4]) or not 0 < int((match[3] or ":1")[1:]) < 65_536:
        raise BadSetting(f"{url!r} is no ICE server; write it like stun:host:3478 or turn:host:3478?transport=udp")
    if url.startswith("stun"):
        return IceServer(url)
    if not (username and credential):
        raise BadSetting(f"{url} needs a name and a password; give --ice-username and --ice-credential")
    return IceServer(url, username, credential)
