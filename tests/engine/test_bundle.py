"""A bundle is either read whole and true or refused in one line."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from avacast.engine.bundle import embedded_bundle, load_bundle, load_weights, write_bundle
from avacast.engine.errors import BadBundle, BadSetting
from avacast.engine.presets import POCKET

NETWORKS = ("dit", "vae", "speech_encoder")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A small but whole bundle."""
    generator = torch.Generator().manual_seed(1)
    networks = {name: {"weight": torch.randn(3, 4, generator=generator), "step": torch.tensor(7)} for name in NETWORKS}
    write_bundle(tmp_path / "model", POCKET, networks)
    return tmp_path / "model"


def read_all(path: Path) -> None:
    opened = load_bundle(path)
    for name in NETWORKS:
        opened.tensors(name)


def refusal(path: Path) -> str:
    """What reading says about a damaged bundle; always one line that names the folder."""
    with pytest.raises(BadBundle) as caught:
        read_all(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def rewrite_manifest(path: Path, **changes: object) -> None:
    """Changes the manifest the way a writer would, so that only the change itself is wrong."""
    file = path / "manifest.json"
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def replace_file(path: Path, name: str, content: bytes) -> None:
    """Puts other content behind a manifest that vouches for it."""
    (path / name).write_bytes(content)
    files = json.loads((path / "manifest.json").read_text())["files"]
    files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    rewrite_manifest(path, files=files)


def test_what_was_written_is_read_back(bundle: Path):
    opened = load_bundle(bundle)
    assert opened.config == POCKET
    weight = opened.tensors("dit")["weight"]
    assert torch.equal(weight, torch.randn(3, 4, generator=torch.Generator().manual_seed(1)))
    assert opened.tensors("dit")["step"].item() == 7


def test_writing_again_replaces_the_old_bundle_and_leaves_nothing_beside(bundle: Path):
    write_bundle(bundle, POCKET, {"dit": {"weight": torch.ones(2)}})
    assert load_bundle(bundle).tensors("dit")["weight"].tolist() == [1, 1]
    assert [entry.name for entry in bundle.parent.iterdir()] == ["model"]


def test_a_failed_write_leaves_the_old_bundle_and_nothing_beside(bundle: Path):
    with pytest.raises(AttributeError):
        write_bundle(bundle, POCKET, {"dit": {"weight": torch.ones(2)}, "vae": {"weight": None}})  # type: ignore[dict-item]
    read_all(bundle)
    assert [entry.name for entry in bundle.parent.iterdir()] == ["model"]


def test_a_folder_of_something_else_is_never_overwritten(tmp_path: Path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to_ada.txt").write_text("Dear Ada")
    with pytest.raises(BadSetting, match="is no bundle"):
        write_bundle(tmp_path / "letters", POCKET, {})
    assert (tmp_path / "letters" / "to_ada.txt").read_text() == "Dear Ada"


def test_a_flipped_byte_anywhere_is_found(bundle: Path):
    for file in sorted(bundle.iterdir()):
        content = file.read_bytes()
        for position in range(0, len(content), max(1, len(content) // 150)):
            damaged = bytearray(content)
            damaged[position] ^= 1 << (position % 8)
            file.write_bytes(damaged)
            refusal(bundle)
        file.write_bytes(content)
    read_all(bundle)


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "vae.safetensors"])
def test_a_truncated_or_missing_file_is_named(bundle: Path, name: str):
    content = (bundle / name).read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 1):
        (bundle / name).write_bytes(content[:length])
        assert name in refusal(bundle)
    (bundle / name).unlink()
    assert name in refusal(bundle)


def test_a_missing_folder_and_a_file_in_its_place_are_refused(tmp_path: Path):
    assert "there is no model folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "there is no model folder" in refusal(tmp_path / "file")


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"format_version": 99}', "<html></html>", "[" * 100_000, "\xff"])
def test_a_foreign_manifest_is_refused(bundle: Path, text: str):
    (bundle / "manifest.json").write_text(text, encoding="latin-1")
    assert "manifest.json" in refusal(bundle)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 2}, "format version 2"),
        ({"colour": "blue"}, "unknown key colour"),
        ({"name": "other"}, "names 'other'"),
        ({"files": []}, "list of files"),
        ({"files": {}}, "config.json"),
        ({"files": {"../../etc/passwd": {"sha256": "", "bytes": 0}}}, "not understood"),
        ({"files": {"dit.pt": {"sha256": "", "bytes": 0}}}, "not understood"),
        ({"files": {"config.json": {"sha256": "", "bytes": 0, "x": 1}}}, "not understood"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(bundle: Path, changes: dict[str, object], said: str):
    rewrite_manifest(bundle, **changes)
    assert said in refusal(bundle)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"not json", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"{}", "describes no model"),
        (b'{"name": "pocket", "color": 1}', "does not know color"),
        (b'{"name": "pocket", "dit": {"dims": 1}}', "does not know dims"),
        (b'{"name": "pocket", "dit": []}', "describes no model"),
        (b'{"name": "pocket", "dit": {"num_heads": 0}}', "describes no model"),
        (b'{"name": "pocket", "window": {"overlap": "five"}}', "describes no model"),
    ],
)
def test_a_config_that_describes_no_model_is_refused(bundle: Path, config: bytes, said: str):
    replace_file(bundle, "config.json", config)
    assert said in refusal(bundle)


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"<!DOCTYPE html>", b"version https://git-lfs", b"\xff" * 64])
def test_weights_that_are_no_safetensors_are_refused(bundle: Path, content: bytes):
    replace_file(bundle, "dit.safetensors", content)
    assert "dit.safetensors is no safetensors file" in refusal(bundle)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float):
    write_bundle(tmp_path / "model", POCKET, {"dit": {"good": torch.ones(2), "bad": torch.tensor([1.0, value])}})
    assert "NaN or infinite weights in bad" in refusal(tmp_path / "model")


def test_a_network_that_the_bundle_lacks_is_named(bundle: Path):
    with pytest.raises(BadBundle, match=r"lists no clip\.safetensors"):
        load_bundle(bundle).tensors("clip")


def test_weights_that_fit_are_copied_into_the_module():
    module, other = nn.Linear(3, 2), nn.Linear(3, 2)
    load_weights(module, other.state_dict())
    assert torch.equal(module.weight, other.weight)


def test_weights_that_do_not_fit_are_listed_and_nothing_is_loaded():
    module = nn.Linear(3, 2)
    before = module.weight.clone()
    tensors = {"weight": torch.zeros(2, 4)} | {f"extra_{i}": torch.zeros(1) for i in range(9)}
    with pytest.raises(BadBundle) as caught:
        load_weights(module, tensors, source="dit.safetensors")
    text = str(caught.value)
    assert text.startswith("dit.safetensors do not fit Linear: bias is missing, extra_0 is unexpected")
    assert "and 6 more" in text
    assert torch.equal(module.weight, before)
    with pytest.raises(BadBundle, match=r"weight is \[2, 4\], not \[2, 3\]"):
        load_weights(module, {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)})


def test_a_bundle_can_be_moved(bundle: Path, tmp_path: Path):
    shutil.move(bundle, tmp_path / "elsewhere")
    read_all(tmp_path / "elsewhere")


def test_the_embedded_bundle_lies_in_the_package():
    assert embedded_bundle().name == "pocket"
    assert embedded_bundle().parent.name == "engine"
