"""Which sites' pages may use this server, under which names, and the headers that tell a browser so (CORS). Text only.

A page of another site can give its own name this machine's address after it was loaded ("DNS rebinding"), and would
then pass for our own page. So a server that listens to this machine only does not answer to such names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from avacast.engine.errors import BadSetting
from avacast.streaming.http_errors import RequestError

ALLOWED_METHODS = "OPTIONS, POST, PATCH, DELETE"
ALLOWED_HEADERS = "Authorization, Content-Type, If-Match"
EXPOSED_HEADERS = "Accept-Patch, Accept-Post, ETag, Link, Location"
MAX_AGE_S = 600


class Origins:
    """Our own page, whoever is no page at all, and the pages of the sites that the owner has named.

    `is_local`: the server listens to this machine only. A proxy on it hands requests on under the name of a site, which
    is one that the owner has to name.

    Raises BadSetting for a site that is not written like `https://player.example`.
    """

    def __init__(self, allowed: Sequence[str] = (), *, is_local: bool = False) -> None:
        for origin in allowed:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}" or "*" in origin:
                raise BadSetting(f"{origin!r} is no origin; write it like https://player.example, without a path")
        self._allowed = frozenset(allowed)
        self._is_local = is_local

    def check(self, origin: str | None, host: str | None) -> None:
        """Raises RequestError for a page of another site, and for a name that is not this server's."""
        if not self.admits(origin, host):
            raise RequestError(HTTPStatus.FORBIDDEN, "foreign_origin", "requests from other sites are refused")
        if not self.answers_to(host):
            text = "this server answers to localhost only; name the site of a proxy with --allow-origin"
            raise RequestError(HTTPStatus.MISDIRECTED_REQUEST, "foreign_host", text)

    def answers_to(self, host: str | None) -> bool:
        """Whether a request for `host` is meant for this server. No site's name is an address, or localhost."""
        if not self._is_local or host is None or host in {urlsplit(origin).netloc for origin in self._allowed}:
            return True
        name = _name(host)
        return name == "localhost" or name.endswith(".localhost") or _is_address(name)

    def admits(self, origin: str | None, host: str | None) -> bool:
        """Whether the page that asks may."""
        return origin is None or urlsplit(origin).netloc == host or origin in self._allowed

    def headers(self, origin: str | None) -> dict[str, str]:
        """For the answer to a page of another site; none for anybody else."""
        if origin is None or origin not in self._allowed:
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Expose-Headers": EXPOSED_HEADERS,
            "Access-Control-Max-Age": str(MAX_AGE_S),
            "Vary": "Origin",
        }


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ip_address(name))
    return False


OWN_PAGE = Origins()
"""Nobody but our own page, and whoever is no page."""
