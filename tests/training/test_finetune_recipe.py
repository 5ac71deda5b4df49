"""The settings of a fine-tuning run, and the file they are read from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from avacast.engine.errors import BadSetting
from avacast.engine.presets import POCKET, STABLEAVATAR_1_3B
from avacast.training.finetune_recipe import FinetuneRecipe


def test_a_file_overrides_what_it_names(tmp_path: Path):
    """Whole numbers may stand for any; lists become tuples; the rest keeps its default."""
    file = tmp_path / "ada.toml"
    file.write_text('lr = 5e-5\nlora_alpha = 32\nlora_targets = ["ffn"]\nrecompute = false\npure_noise = 0.2\n')
    expected = FinetuneRecipe(lr=5e-5, lora_alpha=32, lora_targets=("ffn",), recompute=False, pure_noise=0.2)
    assert FinetuneRecipe.read(file) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("learning_rate = 1", "does not know learning_rate; it knows audio_dropout"),
        ("lr = ", "is no TOML"),
        ('lr = "1e-4"', "lr is '1e-4'; give a number"),
        ("num_steps = 2.5", "num_steps is 2.5; give a whole number"),
        ("num_steps = true", "num_steps is True; give a whole number"),
        ("recompute = 1", "recompute is 1; give true or false"),
        ('lora_targets = "ffn"', "lora_targets is 'ffn'; give a list of names"),
        ("lora_targets = []", "lora_targets must name a part"),
        ("num_steps = 0", "must be 1 or above"),
        ("ema = 1.0", "ema must be"),
        ("face_only = 0.6", "must not exceed 1 together"),
        ("audio_dropout = 2", "shares must lie between 0 and 1"),
        ("lr = nan", "lr and lora_alpha must be above 0"),
    ],
)
def test_a_file_that_does_not_work_is_refused_in_one_line(tmp_path: Path, text: str, sentence: str):
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(BadSetting) as error:
        FinetuneRecipe.read(file)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(BadSetting, match=r"nowhere.toml cannot be read"):
        FinetuneRecipe.read(tmp_path / "nowhere.toml")


def test_what_is_left_open_follows_the_model():
    """Clips overlap by half a window; a model of few even steps is trained on pure noise now and then."""
    recipe = FinetuneRecipe()
    assert recipe.hop_for(STABLEAVATAR_1_3B) == 10
    assert (recipe.pure_noise_for(STABLEAVATAR_1_3B), recipe.pure_noise_for(POCKET)) == (0.0, 0.3)
    assert dataclasses.replace(recipe, pure_noise=0.1).pure_noise_for(POCKET) == 0.1
    with pytest.raises(BadSetting, match="hop 22 is longer"):
        dataclasses.replace(recipe, hop=22).hop_for(STABLEAVATAR_1_3B)
