"""Work beside the main line gives what work in turn gives."""

from __future__ import annotations

import pytest
import torch

from avacast.engine.side_stream import SideStream

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
