"""Which other sites' pages may use this server, and the headers that tell a browser so (CORS). Text only."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from avacast.engine.errors import BadSetting

ALLOWED_METHODS = "OPTIONS, POST, PATCH, DELETE"
ALLOWED_HEADERS = "Authorization, Content-Type, If-Match"
EXPOSED_HEADERS = "Accept-Patch, Accept-Post, ETag, Link, Location"
MAX_AGE_S = 600


class Origins:
    """Our own page, whoever is no page at all, and the pages of the sites that the owner has named.

    Raises BadSetting for a site that is not written like `https://player.example`.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        for origin in allowed:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}" or "*" in origin:
                raise BadSetting(f"{origin!r} is no origin; write it like https://player.example, without a path")
        self._allowed = frozenset(allowed)

    def admits(self, origin: str | None, host: str | None) -> bool:
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


OWN_PAGE = Origins()
"""Nobody but our own page, and whoever is no page."""
