from __future__ import annotations

import pytest

from avacast.engine.errors import BadPortrait
from avacast.streaming.gallery import find_portrait, gallery_names


@pytest.mark.parametrize("name", ["ada", "Ada"])
def test_a_portrait_is_named_as_the_page_writes_it_or_in_small_letters(name: str):
    assert find_portrait(name).name == "ada.png"


def test_what_is_neither_a_file_nor_a_name_is_told_with_the_names_that_there_are():
    with pytest.raises(BadPortrait, match=", ".join(gallery_names())):
        find_portrait("nobody")
