"""STUN and TURN servers in the three forms that are needed."""

from __future__ import annotations

import pytest

from avacast.engine.errors import BadSetting
from avacast.streaming.ice_servers import ice_servers


def test_stun_has_no_password_and_all_turn_servers_share_one():
    stun, turn, turns = ice_servers(
        ["stun:stun.example:3478", "turn:turn.example?transport=udp", "turns:[2001:db8::1]:5349"], "ada", "secret"
    )
    assert stun.to_dict() == {"urls": ["stun:stun.example:3478"]}
    assert turn.to_dict() == {"urls": ["turn:turn.example?transport=udp"], "username": "ada", "credential": "secret"}
    assert stun.to_link() == '<stun:stun.example:3478>; rel="ice-server"'
    assert turns.to_link() == (
        '<turns:[2001:db8::1]:5349>; rel="ice-server"; username="ada"; credential="secret"; credential-type="password"'
    )


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("stun.example", "is no ICE server"),
        ("http://stun.example", "is no ICE server"),
        ("stun:host:99999", "is no ICE server"),
        ("stun:host?transport=udp", "is no ICE server"),
        ("turn:host?transport=carrier-pigeon", "is no ICE server"),
        ('turn:host"><script>', "is no ICE server"),
    ],
)
def test_what_is_no_address_is_one_line(url: str, text: str):
    with pytest.raises(BadSetting, match=text):
        ice_servers([url], "ada" if url.startswith("turn") else "", "secret" if url.startswith("turn") else "")


def test_a_turn_server_needs_a_name_and_a_password_that_fit_a_header():
    with pytest.raises(BadSetting, match="--ice-username and --ice-credential"):
        ice_servers(["turn:turn.example"])
    with pytest.raises(BadSetting, match="belong to a TURN server"):
        ice_servers(["stun:stun.example"], "ada", "secret")
    with pytest.raises(BadSetting, match="quotes"):
        ice_servers(["turn:turn.example"], "ada", 'sec"ret\r\nX: y')
