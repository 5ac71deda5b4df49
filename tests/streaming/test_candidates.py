"""Which of a viewer's addresses are tried."""

from __future__ import annotations

import pytest

from avacast.streaming.candidates import MAX_CANDIDATES, admitted


def candidate(address: str = "8.8.8.8", port: int = 50_000, protocol: str = "udp") -> str:
    return f"candidate:1 1 {protocol} 2113937151 {address} {port} typ host"


def test_public_addresses_and_the_one_that_asked():
    lines = [candidate(), candidate("192.168.1.7"), candidate("2001:4860:4860::8888")]
    assert admitted(lines, "192.168.1.7") == lines
    assert admitted(lines, "192.168.1.8") == [lines[0], lines[2]]


@pytest.mark.parametrize(
    "line",
    [
        candidate("10.0.0.1"),
        candidate("127.0.0.1"),
        candidate("169.254.169.254"),
        candidate("224.0.0.1"),
        candidate("::ffff:10.0.0.1"),
        candidate("fd00::1"),
        candidate("0.0.0.0"),
        candidate(port=22),
        candidate(port=70_000),
        candidate(protocol="tcp"),
        candidate("abc.local"),
        candidate("example.com"),
        "candidate:1 1 udp 1 8.8.8.8",
        "",
    ],
)
def test_what_is_never_tried(line: str):
    """Inner networks, system ports, names that would have to be looked up, and nonsense."""
    assert admitted([line], "203.0.113.5") == []


def test_a_viewer_names_eight_at_most_however_he_spreads_them():
    lines = [candidate(port=50_000 + n) for n in range(100)]
    assert len(admitted(lines, "")) == MAX_CANDIDATES
    assert len(admitted(lines, "", num_before=6)) == MAX_CANDIDATES - 6
    assert admitted(lines, "", num_before=9) == []
