"""`avacast import` and `avacast inspect` as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from avacast.engine.bundle import write_bundle
from avacast.engine.commands import import_model, inspect_bundle
from avacast.engine.errors import BadBundle, BadSetting
from avacast.engine.pipeline import Pipeline


@pytest.fixture
def bundle(tiny_pipeline: Pipeline, tmp_path: Path) -> Path:
    networks = tiny_pipeline.networks
    weights = {name: getattr(networks, name).state_dict() for name in ("dit", "vae", "speech_encoder")}
    write_bundle(tmp_path / "tiny", tiny_pipeline.config, weights)
    return tmp_path / "tiny"


def test_inspect_prints_sizes_networks_and_that_they_are_intact(bundle: Path, capsys: pytest.CaptureFixture[str]):
    inspect_bundle(bundle)
    said = capsys.readouterr().out
    assert "tiny: 64x64 at 25 fps" in said
    assert "2 blocks of width 32, 2 heads, no text" in said
    for name in ("config.json", "dit.safetensors", "vae.safetensors", "speech_encoder.safetensors"):
        assert name in said
    assert said.count("intact") == 4


def test_inspect_looks_at_the_embedded_model_where_none_is_named(capsys: pytest.CaptureFixture[str]):
    """As `avacast export` and `avacast verify` do."""
    inspect_bundle()
    assert "pocket: 256x256" in capsys.readouterr().out


def test_inspect_finds_a_flipped_byte(bundle: Path):
    content = bytearray((bundle / "vae.safetensors").read_bytes())
    content[-1] ^= 1
    (bundle / "vae.safetensors").write_bytes(content)
    with pytest.raises(BadBundle, match=r"vae\.safetensors is damaged"):
        inspect_bundle(bundle)


def test_import_lists_what_a_folder_lacks_and_writes_nothing(tmp_path: Path):
    (tmp_path / "source").mkdir()
    with pytest.raises(BadBundle, match=r"lacks StableAvatar-1\.3B/transformer3d-square\.pt, .* and 1 more"):
        import_model(tmp_path / "source", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_import_knows_two_variants(tmp_path: Path):
    with pytest.raises(BadSetting, match="choose square or rec-vec"):
        import_model(tmp_path, tmp_path / "model", "round")
