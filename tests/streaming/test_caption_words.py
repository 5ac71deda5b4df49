"""What counts as a word of a caption, in every script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avacast.streaming.caption_words import are_joined, num_cells, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Well, naïve café—yes.", "Well, |naïve |café—yes."),
        ("안녕하세요 여러분", "안녕하세요 |여러분"),
        ("你好，世界！我是Ada。", "你|好，|世|界！|我|是|Ada。"),
        ("我用iPhone手機 2024年", "我|用|iPhone|手|機 |2024|年"),
        ("人々は「勉強」した。", "人々|は|「勉|強」|し|た。"),
        ("ちょっとコーヒーを", "ちょっ|と|コー|ヒー|を"),
        ("สวัสดี เป็น", "ส|วั|ส|ดี |เป็|น"),
        ("ສະບາຍດີ", "ສະ|ບາ|ຍ|ດີ"),
        ("សួស្តី", "សួ|ស្តី"),
        ("မင်္ဂလာပါ", "မ|င်္ဂ|လာ|ပါ"),
        ("𠮷野家", "𠮷|野|家"),
    ],
)
def test_a_character_counts_as_a_word_where_there_are_no_blanks(text: str, words: str):
    """With its marks, small letters and punctuation; words of other scripts stay whole."""
    told = list(split_words(text))
    assert [word for word, _ in told] == [word.strip() for word in words.split("|")]
    blanks = [word.endswith(" ") for word in words.split("|")]
    assert [joined for _, joined in told] == [False, *(not blank for blank in blanks[:-1])]


@given(st.text())
def test_nothing_is_lost_or_added(text: str):
    """Joined as it says, the words are the text with single blanks; and none is empty."""
    told = list(split_words(text))
    assert all(word for word, _ in told)
    again = "".join(word if joined else f" {word}" for word, joined in told)
    assert again.removeprefix(" ") == " ".join(text.split())


def test_wide_characters_are_two_letters_wide_and_marks_none():
    assert num_cells("Ada") == 3
    assert num_cells("你好。") == 6
    assert num_cells("ｶﾞ") == 2
    assert num_cells("ดี") == 1


def test_words_told_one_by_one_stand_apart_except_in_chinese_and_japanese():
    assert are_joined("你", "好")
    assert are_joined("好，", "世")
    assert not are_joined("Ada", "是")
    assert not are_joined("สวัสดี", "ครับ")
    assert not are_joined("안녕", "여러분")
    assert not are_joined("", "好")
