"""Work beside the main line gives what work in turn gives."""

from __future__ import annotations

import pytest
import torch

from avacast.engine.side_stream import Fetched, SideStream, lines_of, sent

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]


@pytest.mark.parametrize("name", DEVICES)
def test_both_lines_see_each_others_results(name: str):
    """The side line sees what the main line made before it, and after joining the main line sees what it made."""
    device = torch.device(name)
    side = SideStream(device)
    total = torch.zeros(1000, 1000, device=device)
    for _ in range(20):
        ones = torch.ones(1000, 1000, device=device)
        with side.after_main(ones):
            product = ones @ ones / 1000
        side.join()
        total += product
    assert total.eq(20).all()


def test_the_side_line_is_left_when_its_work_fails():
    """An error inside goes on to the caller."""
    with pytest.raises(ValueError, match="inside"), SideStream(torch.device("cpu")).after_main():
        raise ValueError("inside")


@pytest.mark.parametrize("name", DEVICES)
def test_work_that_waits_for_nothing_is_joined(name: str):
    """What is made beside the main line, of the host's numbers alone, is there for it after joining."""
    device = torch.device(name)
    side, total = SideStream(device), torch.zeros(1000, 1000, device=device)
    for number in range(20):
        with side.beside_main():
            made = sent(torch.full((1000, 1000), float(number)), device) * 2
        side.join(made)
        total += made
    assert total.eq(380).all()


@pytest.mark.parametrize("name", DEVICES)
def test_what_is_fetched_is_what_was_there_when_it_was_asked_for(name: str):
    """The copy is queued behind what makes the tensor, and before what changes it next."""
    device = torch.device(name)
    side, x = lines_of(device).showing, torch.zeros(1000, 1000, device=device)
    with side.after_main(x):
        on_their_way = Fetched(x + 1)
    x = x - 5
    assert on_their_way.wait().eq(1).all()
    assert on_their_way.wait().device.type == "cpu"


@pytest.mark.parametrize("name", DEVICES)
def test_after_a_mark_what_was_made_before_it_is_there(name: str):
    """What the line was given since may still be under way."""
    device = torch.device(name)
    side, total = SideStream(device), torch.zeros(1000, 1000, device=device)
    for number in range(20):
        with side.beside_main():
            made = sent(torch.full((1000, 1000), float(number)), device) * 2
            mark = side.mark()
            made @ made
        mark.join()
        total += made
    side.join()
    assert total.eq(380).all()


def test_sessions_of_a_device_share_its_lines():
    """Their networks' buffers are shared, so their work is done in turn."""
    assert lines_of(torch.device("cpu")) is lines_of(torch.device("cpu"))
