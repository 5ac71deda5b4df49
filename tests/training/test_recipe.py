"""training/recipe.py: recipes read from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from avacast.engine.errors import BadSetting
from avacast.training.pocket import PocketRecipe


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    """A table for each stage; what is not named keeps its default."""
    file = tmp_path / "short.toml"
    file.write_text("[avatar]\nnum_steps = 800\nwindow_lengths = [3, 4]\n[decoder]\nlr = 1\n")

    recipe, default = PocketRecipe.read(file), PocketRecipe()

    assert (recipe.avatar.num_steps, recipe.avatar.window_lengths, recipe.decoder.lr) == (800, (3, 4), 1)
    assert recipe.avatar.lip_weight == default.avatar.lip_weight
    assert (recipe.speech_encoder, recipe.autoencoder) == (default.speech_encoder, default.autoencoder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("avatar = 3", "AvatarRecipe is 3; give a table of its settings"),
        ("[avatar]\nsteps = 3", "AvatarRecipe does not know steps"),
        ("[avatar]\nnum_steps = 2.5", "num_steps is 2.5; give a whole number"),
        ("[avatar]\nwindow_lengths = [3.5]", "window_lengths is (3.5,); give a list of whole numbers"),
        ("[avatar]\ncompile = 1", "compile is 1; give true or false"),
        ("[decoder", "is no TOML"),
    ],
)
def test_a_file_that_does_not_work_is_refused_in_one_line(tmp_path: Path, text: str, sentence: str) -> None:
    """It names the file and the setting."""
    file = tmp_path / "recipe.toml"
    file.write_text(text)

    with pytest.raises(BadSetting) as error:
        PocketRecipe.read(file)

    assert str(file) in str(error.value)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
