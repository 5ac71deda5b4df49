"""Whose pages may connect."""

from __future__ import annotations

import pytest

from avacast.engine.errors import BadSetting
from avacast.streaming.http_errors import RequestError
from avacast.streaming.origins import OWN_PAGE, Origins


def test_our_own_page_and_programs_that_are_no_page():
    assert OWN_PAGE.admits(None, "host:80")
    assert OWN_PAGE.admits("http://host:80", "host:80")
    assert not OWN_PAGE.admits("http://evil.example", "host:80")
    assert not OWN_PAGE.admits("null", "host:80")
    assert OWN_PAGE.headers("http://host:80") == {}


def test_a_site_that_the_owner_has_named_sees_the_headers_it_needs():
    """Without exposed headers a player would not find the URL to end its session with."""
    origins = Origins(["https://player.example"])
    assert origins.admits("https://player.example", "host")
    assert not origins.admits("https://player.example.evil.example", "host")
    headers = origins.headers("https://player.example")
    assert headers["Access-Control-Allow-Origin"] == "https://player.example"
    assert {"Location", "ETag", "Link"} <= set(headers["Access-Control-Expose-Headers"].split(", "))
    assert {"PATCH", "DELETE"} <= set(headers["Access-Control-Allow-Methods"].split(", "))


def test_a_local_server_does_not_answer_to_a_name_that_a_site_has_given_its_address():
    """A rebound page is of our own origin as far as its browser knows; only the name gives it away."""
    local = Origins(["https://avatar.example"], is_local=True)
    for host in ("127.0.0.1:8080", "localhost:8080", "LOCALHOST", "app.localhost", "[::1]:8080", None, "10.0.0.7"):
        local.check(host and f"http://{host}", host)
    local.check("https://avatar.example", "avatar.example")
    for host in ("evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", ""):
        with pytest.raises(RequestError, match="answers to localhost only; name the site of a proxy") as caught:
            local.check(None, host)
        assert caught.value.status == 421
    OWN_PAGE.check("http://evil.example:8080", "evil.example:8080")


@pytest.mark.parametrize(
    "origin", ["*", "https://*.example", "player.example", "https://a.example/", "ftp://a.example"]
)
def test_what_is_no_origin_is_one_line(origin: str):
    with pytest.raises(BadSetting, match="is no origin"):
        Origins([origin])
