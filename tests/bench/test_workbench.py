"""What the sections share: operations counted by the book, decoders as graphs, a broken compiler survived."""

from __future__ import annotations

import pytest
import torch

from avacast.bench.decoding import decoder_call, decoder_graph, first_past, tiny_vae, to_pictures
from avacast.bench.device_timer import Deadline, seconds_of
from avacast.bench.forward_passes import count_operations
from avacast.bench.gpu_workload import FULL, TINY
from avacast.bench.kernel_table import kernel_size
from avacast.bench.window_stream import WindowStream
from avacast.bench.workbench import CompiledOrPlain, Workbench
from avacast.engine.tiny_vae import StreamState


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return Workbench(TINY, torch.device("cpu"), torch.float32)


def test_the_operations_of_a_pass_are_counted_by_the_book(bench: Workbench) -> None:
    """What more tokens cost is their self-attention, products and cross-attention, and less than half of it again."""
    counts: list[int] = []
    with torch.inference_mode():
        for width in (32, 64):
            inputs = bench.conditions(32, width, 5)
            inputs["latents"], inputs["timestep"] = bench.noise(32, width, 5), torch.full((1,), 500.0)
            counts.append(count_operations(bench, inputs))
    dit, few, many = bench.config.dit, 5 * 2 * 2, 5 * 2 * 4
    num_read = inputs["text"].shape[1] + inputs["image"].shape[1] + inputs["audio"].shape[2]
    block = 2 * 6 * dit.dim**2 + 4 * dit.dim * dit.ffn_dim + 4 * num_read * dit.dim
    adapter = dit.audio_num_layers * 4 * dit.dim**2
    expected = dit.num_layers * (4 * (many**2 - few**2) * dit.dim + (many - few) * block) + (many - few) * adapter
    assert expected < counts[1] - counts[0] < 1.5 * expected


@pytest.mark.parametrize("kind", ["wan", "tiny"])
def test_a_decoder_graph_decodes_a_stream(bench: Workbench, kind: str) -> None:
    """Latent by latent, its state in its buffers, it gives the pictures that the decoder gives."""
    vae = bench.networks.vae if kind == "wan" else tiny_vae(bench)
    with torch.inference_mode():
        latents = bench.noise(32, 32, 4)
        expected = to_pictures(vae.decode(latents))
        past = first_past(vae, latents[:, :, :1])
        graph = decoder_graph(bench, decoder_call(vae), latents[:, :, :1], past)
        pictures = [graph(latents=latent)["frames"].clone() for latent in latents[:, :, 1:].split(1, dim=2)]
    difference = (torch.cat(pictures, dim=1).int() - expected[:, 1:].int()).abs()
    assert difference.max() <= 1


def test_streams_make_pictures_of_the_right_size(bench: Workbench) -> None:
    """After windows of two streams their pictures are on the host; an interruption's are the same every time."""
    with torch.inference_mode():
        stream = WindowStream(bench, tiny_vae(bench), batch=2)
        snapshot = stream.snapshot()
        stream.run(2)
        assert stream.num_frames == 2 * 4 * 2
        assert stream.first_frame(snapshot).shape == (2, 1, 32, 32, 3)
        assert stream.next_frames(snapshot).shape == (2, 4, 32, 32, 3)
        stream.restore(snapshot)
        again = stream.snapshot()
    assert torch.equal(again.tails, snapshot.tails)
    assert isinstance(again.decoder, StreamState)
    assert isinstance(snapshot.decoder, StreamState)
    assert all(torch.equal(a, b) for a, b in zip(again.decoder.past, snapshot.decoder.past, strict=True))


def test_where_the_compiler_fails_the_call_goes_on() -> None:
    """The plain call answers, and why is kept."""

    def broken(_x: int) -> int:
        raise RuntimeError("no compiler here")

    def plain(x: int) -> int:
        return x + 1

    reasons: dict[str, str] = {}
    call = CompiledOrPlain(plain, broken, reasons)
    assert [call(1), call(2)] == [2, 3]
    assert list(reasons.values()) == ["RuntimeError: no compiler here"]


def test_a_call_takes_as_long_as_it_takes() -> None:
    """A loop of twice the length takes longer; a deadline that is over has nothing left."""
    device = torch.device("cpu")
    short, long = (seconds_of(lambda n=n: sum(range(n)), device, max_s=0.1) for n in (20_000, 200_000))
    assert 0 < short < long
    assert Deadline.after(0).passed
    assert not Deadline.after(100).passed


def test_kernels_are_tried_at_the_model_s_own_shapes() -> None:
    """Window, overlap, picture, width and heads are those of the pipeline that is measured."""
    size = kernel_size(Workbench(FULL, torch.device("cpu"), torch.float32))
    assert (size.num_latents, size.overlap, size.height, size.width) == (9, 3, 512, 512)
    assert (size.dim, size.num_heads, size.patch, size.vae_width) == (1536, 12, 2, 96)
