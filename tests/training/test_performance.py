"""Motion of the head as a map from the frame to the resting face."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avacast.training.performance import JAW_DROP, HeadMotion, Performance


def motion(**values: float) -> HeadMotion:
    performance = Performance.rest(1)
    for name, value in values.items():
        getattr(performance, name)[:] = value
    return HeadMotion(performance.tracks("cpu"), mouth_y=168, face_length=206)


def point(x: float, y: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[[x]]]), torch.tensor([[[y]]])


def test_rest_moves_nothing() -> None:
    """At rest a point of the frame is the same point of the face, counted from its middle."""
    u, v = motion().to_skin(*point(150, 190))
    assert (float(u), float(v)) == (pytest.approx(22, abs=1e-4), pytest.approx(190, abs=1e-4))


@pytest.mark.parametrize("turn", [{"yaw": 0.2}, {"pitch": -0.2}, {"roll": 0.2}, {"shift_x": 0.03, "shift_y": -0.02}])
def test_centre_is_the_way_back(turn: dict[str, float]) -> None:
    """`centre` says where a feature lands: mapping that point back gives the feature, to two points."""
    head = motion(**turn)
    x, y = head.centre(12, 150)
    u, v = head.to_face(x.view(1, 1, 1), y.view(1, 1, 1))
    assert float(u) == pytest.approx(12, abs=2)
    assert float(v) == pytest.approx(150, abs=2)


def test_signs() -> None:
    """Positive yaw moves the nose right, positive pitch down, positive roll tilts the crown right (clockwise)."""
    for turn, axis, sign in (("yaw", 0, 1), ("pitch", 1, 1), ("roll", 0, 1)):
        moved, still = motion(**{turn: 0.1}).centre(0, 100), motion().centre(0, 100)
        assert sign * float(moved[axis] - still[axis]) > 1


def test_jaw_moves_the_chin_alone() -> None:
    """An open jaw lowers the chin by its whole drop and leaves the eyes where they were."""
    head = motion(jaw=1.0)
    assert float(head.to_skin(*point(128, 216 + JAW_DROP))[1]) == pytest.approx(216, abs=0.1)
    assert float(head.to_skin(*point(128, 115))[1]) == pytest.approx(115, abs=0.1)


def test_a_short_track_is_refused() -> None:
    """Every track has one value for every frame."""
    rest = Performance.rest(3)
    wrong = Performance(**{**vars(rest), "blink": np.zeros(2, np.float32)})
    with pytest.raises(AssertionError, match="blink"):
        wrong.tracks("cpu")
