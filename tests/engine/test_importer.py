"""A checkpoint set in the public layout, random, scaled down or of full size, becomes a bundle or a clear refusal."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from avacast.engine import importer
from avacast.engine.bundle import load_bundle
from avacast.engine.config import ModelConfig, VAEConfig
from avacast.engine.dit import DiT
from avacast.engine.errors import BadBundle, BadSetting, Unavailable
from avacast.engine.importer import encode_with, import_released
from avacast.engine.pipeline import Pipeline
from avacast.engine.public_layout import AVATAR, FILES, REPOSITORY, SPEECH, TOKENIZER, WAN, Variant
from avacast.engine.released_model import Part, ReleasedModel, Shapes
from avacast.engine.sample_tail import Samples
from avacast.engine.umt5 import Umt5, Umt5Config, from_public_names

TEXT_ENCODER = Umt5Config(vocab_size=300, dim=24, attention_dim=24, ffn_dim=32, num_heads=2, num_layers=3)
TRANSFORMER = f"{AVATAR}/transformer3d-square.pt"
CLIP, TEXT, VAE = FILES["clip_visual"][0], FILES["text_encoder"][0], FILES["vae"][0]


def scaled_down(config: ModelConfig) -> ReleasedModel:
    """The released list of tensors, with the widths and the number of blocks of `config` and `TEXT_ENCODER`."""
    full, clip, text = ReleasedModel.stableavatar(), config.clip, TEXT_ENCODER
    assert clip is not None
    with torch.device("meta"):
        transformer = {name: tuple(tensor.shape) for name, tensor in DiT(config.dit).state_dict().items()}
    vae_sizes = {96 * n: config.vae.base_dim * n for n in (1, 2, 4, 8, 12)}
    clip_sizes = {1280: clip.dim, 3840: 3 * clip.dim, 5120: clip.mlp_dim}
    text_sizes = {256_384: text.vocab_size, 4096: text.dim, 10_240: text.ffn_dim, 64: text.num_heads}
    listed: dict[Part, Shapes] = {
        "transformer": transformer,
        "vae": scaled(full.shapes["vae"], vae_sizes),
        "clip_visual": scaled(full.shapes["clip_visual"], clip_sizes, clip.num_layers),
        "text_encoder": scaled(full.shapes["text_encoder"], text_sizes, text.num_layers),
    }
    return ReleasedModel.of(
        replace(config, live_vae=VAEConfig(decoder_widths=(8, 8, 8, 8), encoder_width=8)), text, listed
    )


def scaled(shapes: Shapes, sizes: dict[int, int], num_blocks: int | None = None) -> Shapes:
    def is_kept(name: str) -> bool:
        block = re.match(r"(?:visual\.transformer|blocks)\.(\d+)\.", name)
        return num_blocks is None or block is None or int(block[1]) < num_blocks

    return {name: tuple(sizes.get(size, size) for size in shape) for name, shape in shapes.items() if is_kept(name)}


def random_weights(
    shapes: Shapes, seed: int, dtype: torch.dtype = torch.float32, scratch: Path | None = None
) -> dict[str, Tensor]:
    """Small random numbers, so that no network overflows; in files of the folder `scratch`, where one is given."""
    random = torch.Generator().manual_seed(seed)

    def empty(shape: tuple[int, ...]) -> Tensor:
        if scratch is None:
            return torch.empty(shape, dtype=dtype)
        scratch.mkdir(exist_ok=True)
        file = scratch / f"{len(list(scratch.iterdir()))}"
        return torch.from_file(str(file), shared=True, size=math.prod(shape), dtype=dtype).view(shape)

    return {name: empty(shape).uniform_(-0.05, 0.05, generator=random) for name, shape in shapes.items()}


def write_release(
    folder: Path,
    released: ReleasedModel,
    *,
    variant: Variant = "square",
    tiny: bool = False,
    scratch: Path | None = None,
) -> Path:
    """Writes every file of the release, with what the real ones hold besides, and returns `folder`."""
    for name in (AVATAR, WAN, SPEECH, str(Path(TOKENIZER).parent)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shapes = released.shapes
    transformer = random_weights(shapes["transformer"], 1, scratch=scratch)
    torch.save(transformer, folder / AVATAR / f"transformer3d-{variant}.pt")
    torch.save(random_weights(shapes["vae"], 2), folder / VAE)
    besides = {"log_scale": torch.zeros(()), "textual.cls_embedding": torch.zeros(2)}
    torch.save(random_weights(shapes["clip_visual"], 3) | besides, folder / CLIP)
    torch.save(random_weights(shapes["text_encoder"], 4, torch.bfloat16, scratch), folder / TEXT)
    old_names = {"original0": "weight_g", "original1": "weight_v"}
    speech = {
        re.sub(r"parametrizations\.weight\.(original\d)", lambda found: old_names[found[1]], name): shape
        for name, shape in shapes["speech_encoder"].items()
    }
    save_file(random_weights({**speech, "lm_head.weight": (3, 4)}, 5), folder / FILES["speech_encoder"][0])
    if tiny:
        torch.save(random_weights(shapes["tiny_vae"], 6), folder / "taew2_1.pth")
    dit = released.config.dit
    sizes = {"dim": dit.dim, "num_heads": dit.num_heads, "num_layers": dit.num_layers, "in_dim": dit.in_dim}
    (folder / WAN / "config.json").write_text(json.dumps({"_class_name": "WanModel", **sizes}))
    (folder / SPEECH / "config.json").write_text(json.dumps(released.config.audio.wav2vec2))
    write_tokenizer(folder / TOKENIZER)
    return folder


def write_tokenizer(path: Path) -> None:
    """One token for each letter, and a closing one, in the format of the real tokenizer."""
    letters = [(chr(code), -1.0) for code in (*range(32, 127), 0x2581)]
    tokenizer = Tokenizer(models.Unigram([("<pad>", 0.0), ("</s>", 0.0), *letters], 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(path))


@pytest.fixture(scope="module")
def released(released_config: ModelConfig) -> ReleasedModel:
    return scaled_down(released_config)


@pytest.fixture(scope="module")
def whole_source(released: ReleasedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), released, tiny=True)


@pytest.fixture
def source(whole_source: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage; its bundle goes to `tmp_path`, beside nothing."""
    shutil.copytree(whole_source, tmp_path.parent / f"{tmp_path.name}-source")
    return tmp_path.parent / f"{tmp_path.name}-source"


def refusal(source: Path, folder: Path, released: ReleasedModel) -> str:
    """The one line with which an import ends; nothing stays behind and the source is as it was."""
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    with pytest.raises(BadBundle) as caught:
        import_released(source, folder / "model", released)
    assert list(folder.iterdir()) == []
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before
    text = str(caught.value)
    assert "\n" not in text
    return text


def resave(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    weights = torch.load(path, weights_only=True)
    change(weights)
    torch.save(weights, path)


def test_an_imported_model_speaks(whole_source: Path, released: ReleasedModel, tmp_path: Path, noise_3s: Samples):
    """Every network arrives: the bundle loads, and a live session makes frames with it."""
    config = import_released(whole_source, tmp_path / "model", released)
    pipeline = Pipeline.load(tmp_path / "model", dtype=torch.float32)
    assert pipeline.config == config == released.config
    session = pipeline.open_session(np.full((64, 64, 3), 120, np.uint8))
    session.push(noise_3s[:20_000])
    frames = session.pull()
    assert len(frames) > 1
    assert frames[-1].image.std() > 0
    transformer = torch.load(whole_source / TRANSFORMER, weights_only=True)
    for name, tensor in pipeline.networks.dit.state_dict().items():
        assert torch.equal(tensor, transformer[name])


def test_the_prompts_are_those_of_the_whole_text_encoder(whole_source: Path, released: ReleasedModel, tmp_path: Path):
    """Encoded block by block, they are what the encoder in one piece makes of the same tokens."""
    import_released(whole_source, tmp_path / "model", released)
    states = load_bundle(tmp_path / "model").tensors("prompts")
    encoder = Umt5(TEXT_ENCODER).eval()
    weights = torch.load(whole_source / TEXT, weights_only=True)
    encoder.load_state_dict(from_public_names({name: tensor.float() for name, tensor in weights.items()}))
    tokenizer = Tokenizer.from_file(str(whole_source / TOKENIZER))
    for name, prompt in (("positive", "talk"), ("negative", "blur")):
        ids = torch.tensor([tokenizer.encode(prompt).ids])
        assert ids[0, -1] == 1
        with torch.inference_mode():
            expected = encoder(ids, torch.ones_like(ids).bool())[0]
        torch.testing.assert_close(states[name], expected, rtol=1e-4, atol=1e-5)


def test_another_prompt_is_encoded_from_the_same_source(whole_source: Path, released: ReleasedModel, tmp_path: Path):
    """Alone or beside another, a prompt gives the same states."""
    import_released(whole_source, tmp_path / "model", released)
    stored = load_bundle(tmp_path / "model").tensors("prompts")
    states = encode_with(whole_source, released, {"said": "talk", "other": "a long prompt that is cut at its end"})
    torch.testing.assert_close(states["said"], stored["positive"])
    assert states["other"].shape == (16, 24)
    with pytest.raises(BadSetting, match="prompt is empty"):
        encode_with(whole_source, released, {"said": "  "})


def test_a_snapshot_in_the_cache_is_a_source(whole_source: Path, released: ReleasedModel, tmp_path: Path):
    """The cache's links to its blobs, found from the cache's folder, the repository's or the snapshot's own."""
    snapshot = tmp_path / "hub" / REPOSITORY / "snapshots" / "0123abc"
    for file in (path for path in whole_source.rglob("*") if path.is_file()):
        link = snapshot / file.relative_to(whole_source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    reference = tmp_path / "hub" / REPOSITORY / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text("0123abc")
    for source in (tmp_path / "hub", tmp_path / "hub" / REPOSITORY, snapshot):
        import_released(source, tmp_path / "model", released)
        load_bundle(tmp_path / "model")


def test_the_other_transformer_brings_its_size(released: ReleasedModel, tmp_path: Path):
    source = write_release(tmp_path / "source", released, variant="rec-vec")
    config = import_released(
        source, tmp_path / "model", replace(released, config=replace(released.config, live_vae=None))
    )
    assert (config.width, config.height) == (832, 480)
    with pytest.raises(BadBundle, match=r"lacks StableAvatar-1\.3B/transformer3d-square\.pt"):
        import_released(source, tmp_path / "square", released, variant="square")


def test_progress_reaches_its_end_for_every_part(whole_source: Path, released: ReleasedModel, tmp_path: Path):
    last: dict[str, tuple[int, int]] = {}
    import_released(
        whole_source, tmp_path / "model", released, report=lambda what, done, total: last.update({what: (done, total)})
    )
    assert len(last) == 6
    assert all(done == total > 0 for done, total in last.values())


@pytest.mark.parametrize("file", [TRANSFORMER, VAE, CLIP, TEXT])
def test_tensors_that_do_not_fit_are_listed(source: Path, released: ReleasedModel, tmp_path: Path, file: str):
    """Missing, unexpected and wrong-shaped ones, each by its name."""
    weights = torch.load(source / file, weights_only=True)
    first, second = [name for name in weights if name.startswith(("blocks", "visual", "encoder"))][:2]
    shape = list(weights[second].shape)
    weights["visual.extra" if file == CLIP else "extra"] = weights.pop(first)
    weights[second] = torch.zeros(*shape, 1)
    torch.save(weights, source / file)
    said = refusal(source, tmp_path, released)
    assert Path(file).name in said
    assert f"{first} is missing" in said
    assert "extra is unexpected" in said
    assert f"{second} is {[*shape, 1]}, not {shape}" in said


@pytest.mark.parametrize("file", [TRANSFORMER, VAE, CLIP, TEXT, FILES["speech_encoder"][0], TOKENIZER])
def test_a_missing_file_is_named(source: Path, released: ReleasedModel, tmp_path: Path, file: str):
    (source / file).unlink()
    assert file in refusal(source, tmp_path, released)


@pytest.mark.parametrize("file", [TRANSFORMER, TEXT, FILES["speech_encoder"][0]])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(source: Path, released: ReleasedModel, tmp_path: Path, file: str, share: float):
    content = (source / file).read_bytes()
    (source / file).write_bytes(content[: int(share * len(content))])
    said = refusal(source, tmp_path, released)
    assert Path(file).name in said
    assert "cut short" in said


class Payload:
    """What a hostile checkpoint carries: opening it as a pickle would make a folder."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._trace),)


@pytest.mark.parametrize("file", [TRANSFORMER, VAE, CLIP, TEXT, "taew2_1.pth"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(
    source: Path, released: ReleasedModel, tmp_path: Path, file: str
):
    trace = source / "trace"
    torch.save({"weight": torch.zeros(1), "payload": Payload(trace)}, source / file)
    assert "could run code" in refusal(source, tmp_path, released)
    assert not trace.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("file", "name"), [(TRANSFORMER, "head.head.bias"), (TEXT, "blocks.1.ffn.fc1.weight")])
def test_weights_that_are_no_numbers_are_refused(
    source: Path, released: ReleasedModel, tmp_path: Path, file: str, name: str, value: float
):
    resave(source / file, lambda weights: weights[name].view(-1)[-1:].fill_(value))
    said = refusal(source, tmp_path, released)
    assert "NaN or infinite" in said
    assert name in said


@pytest.mark.parametrize(
    ("file", "key"), [(f"{WAN}/config.json", "num_heads"), (f"{SPEECH}/config.json", "hidden_size")]
)
def test_a_config_of_another_model_is_refused(
    source: Path, released: ReleasedModel, tmp_path: Path, file: str, key: str
):
    (source / file).write_text(json.dumps({key: 40}))
    assert f"{key} is 40, not" in refusal(source, tmp_path, released)
    (source / file).write_text("{")
    assert "no JSON" in refusal(source, tmp_path, released)


def test_a_damaged_tokenizer_and_a_foreign_file_are_refused(source: Path, released: ReleasedModel, tmp_path: Path):
    tokenizer = (source / TOKENIZER).read_text()
    (source / TOKENIZER).write_text("{}")
    assert "is no tokenizer" in refusal(source, tmp_path, released)
    (source / TOKENIZER).write_text(tokenizer)
    (source / TRANSFORMER).write_bytes(b"<html>not found</html>")
    assert "transformer3d-square.pt" in refusal(source, tmp_path, released)
    assert "there is no folder" in refusal(source / "nowhere", tmp_path, released)


def test_too_little_disk_is_told_before_anything_is_written(
    whole_source: Path, released: ReleasedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(importer.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(Unavailable, match=r"0\.0 GB free, the bundle takes 0\.1 GB"):
        import_released(whole_source, tmp_path / "model", released)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["encoding the prompts", "writing clip_visual"])
def test_an_interrupted_import_leaves_nothing(whole_source: Path, released: ReleasedModel, tmp_path: Path, moment: str):
    def interrupt(what: str, _done: int, _total: int) -> None:
        if what == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_released(whole_source, tmp_path / "model", released, report=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_or_inside_the_source_is_refused(source: Path, released: ReleasedModel, tmp_path: Path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "ada.txt").write_text("Dear Ada")
    with pytest.raises(BadSetting, match="is no bundle"):
        import_released(source, tmp_path / "letters", released)
    with pytest.raises(BadSetting, match="inside the source"):
        import_released(source, source / "model", released)


def test_the_shipped_list_is_the_released_one_and_the_networks_are_its(stableavatar_golden: Path):
    """Every name and shape of the list, and the transformer that the configuration builds has exactly them."""
    golden = json.loads(stableavatar_golden.read_text())["tensors"]
    released = ReleasedModel.stableavatar()
    for part, shapes in golden.items():
        assert {name: list(shape) for name, shape in released.shapes[part].items()} == shapes
    with torch.device("meta"):
        transformer = DiT(released.config.dit).state_dict()
    assert released.misfits("transformer", transformer) == []


FULL_SIZE = """
import re, sys
from pathlib import Path
from avacast.engine.importer import import_released
from avacast.engine.released_model import ReleasedModel
import_released(Path(sys.argv[1]), Path(sys.argv[2]), ReleasedModel.stableavatar())
# Not getrusage's figure, which a process inherits from the one that started it.
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]))
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_full_size_is_imported_in_less_than_12_gb(tmp_path: Path):
    """A random set with every tensor of the release, 22 GB, becomes a bundle of 11 GB; files are removed at the end."""
    if shutil.disk_usage(tmp_path).free < 60 << 30:
        pytest.skip("needs 60 GB of disk")
    released = ReleasedModel.stableavatar()
    try:
        write_release(tmp_path / "source", released, scratch=tmp_path / "scratch")
        shutil.rmtree(tmp_path / "scratch")
        done = subprocess.run(
            [sys.executable, "-P", "-c", FULL_SIZE, str(tmp_path / "source"), str(tmp_path / "model")],
            check=True,
            capture_output=True,
            text=True,
        )
        peak = int(done.stdout)
        print(f"peak {peak / 1e9:.1f} GB")
        assert peak < 12e9
        assert load_bundle(tmp_path / "model").config.name == "stableavatar-1.3b"
    finally:
        shutil.rmtree(tmp_path)
