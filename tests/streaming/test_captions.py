"""What an utterance says, as lines of words to be shown while it is heard."""

from __future__ import annotations

import pytest

from avacast.streaming.captions import CHAR_S, MAX_LINE_CELLS, MAX_WORDS, Caption, Captions, parts_of
from avacast.streaming.tts import Word


def timed(*texts: str) -> list[Word]:
    """Words that take a second each."""
    return [Word(text, float(index), index + 1.0) for index, text in enumerate(texts)]


def test_a_line_is_a_sentence_and_says_which_words_were_heard():
    captions = Captions("Oh, hello! I am Ada.")
    captions.add(timed("Oh,", "hello!", "I", "am", "Ada."))
    assert captions.at(0.0) == Caption(("Oh,", "hello!"), 1)
    assert captions.at(1.5) == Caption(("Oh,", "hello!"), 2)
    assert captions.at(2.0) == Caption(("I", "am", "Ada."), 1)
    assert captions.at(99.0) == Caption(("I", "am", "Ada."), 3)


def test_nothing_is_shown_before_the_first_word():
    captions = Captions("Hello")
    captions.add([Word("Hello", 0.2, 0.6)])
    assert captions.at(0.1) is None
    assert captions.at(0.2) == Caption(("Hello",), 1)


def test_a_long_sentence_has_several_lines():
    texts = [f"word{index}" for index in range(40)]
    captions = Captions("")
    captions.add(timed(*texts))
    lines: list[tuple[str, ...]] = []
    for second in range(40):
        caption = captions.at(second)
        assert caption
        assert len(" ".join(caption.words)) <= MAX_LINE_CELLS
        if caption.num_heard == 1:
            lines.append(caption.words)
    assert [word for line in lines for word in line] == texts


def test_a_line_rather_ends_with_a_part_of_the_sentence():
    """But not with a short one."""
    captions = Captions("")
    captions.add(timed(*"Well, we could go out into the garden, and look at flowers and trees.".split()))
    line = captions.at(0)
    assert line
    assert " ".join(line.words) == "Well, we could go out into the garden,"


def test_a_word_longer_than_a_line_has_its_own():
    captions = Captions("")
    captions.add(timed("a", "b" * (MAX_LINE_CELLS + 1), "c"))
    assert captions.at(1) == Caption(("b" * (MAX_LINE_CELLS + 1),), 1)


def test_words_that_come_later_join_the_line():
    captions = Captions("one two three")
    captions.add([Word("one", 0, 1)])
    assert captions.at(0.5) == Caption(("one",), 1)
    captions.add([Word("two", 1, 2)])
    captions.add([])
    assert captions.at(0.5) == Caption(("one", "two"), 1)


def test_without_times_words_are_spread_evenly():
    """First by the usual pace, then over the true length; times that are told are never stretched."""
    captions = Captions("four four four")
    assert captions.at(5 * CHAR_S + 0.01) == Caption(("four", "four", "four"), 2)
    captions.stretch(30.0)
    assert captions.at(9.9) == Caption(("four", "four", "four"), 1)
    assert captions.at(20.1) == Caption(("four", "four", "four"), 3)
    captions.add([Word("four", 0, 1), Word("four", 1, 2)])
    captions.stretch(30.0)
    assert captions.at(1.5) == Caption(("four", "four"), 2)


def test_a_script_without_blanks_has_a_word_for_each_character():
    """Heard one after the other, shown without blanks; those that the text has stay."""
    captions = Captions("我是Ada。 你好")
    captions.stretch(16.0)
    assert captions.at(0) == Caption(("我", "是", "Ada。"), 1, joined=(1, 2))
    assert captions.at(3) == Caption(("我", "是", "Ada。"), 2, joined=(1, 2))
    assert captions.at(5) == Caption(("我", "是", "Ada。"), 3, joined=(1, 2))
    assert captions.at(15) == Caption(("你", "好"), 2, joined=(1,))


def test_a_sentence_that_a_service_tells_as_one_word_is_heard_evenly():
    captions = Captions("")
    captions.add([Word("你好世界", 1.0, 3.0)])
    assert captions.at(0.9) is None
    for number in range(4):
        assert captions.at(1.01 + 0.5 * number) == Caption(("你", "好", "世", "界"), number + 1, joined=(1, 2, 3))


def test_characters_that_a_service_tells_one_by_one_are_shown_without_blanks():
    captions = Captions("")
    captions.add([Word("你", 0, 1)])
    captions.add([Word("好，", 1, 2), Word("Ada", 2, 3), Word("Smith", 3, 4)])
    assert captions.at(3) == Caption(("你", "好，", "Ada", "Smith"), 4, joined=(1,))


def test_a_line_of_wide_characters_has_half_as_many():
    captions = Captions("字" * 60)
    captions.stretch(60.0)
    assert [len(captions.at(second).words) for second in (0, 27.5, 28.5, 59)] == [28, 28, 28, 4]  # type: ignore[union-attr]


def test_a_line_of_thai_ends_at_a_blank():
    """Within a word there is no telling where it may."""
    captions = Captions("สวัสดีครับ ผมชื่อเอดาและผมเป็นตัวละครที่วาดด้วยมือ พูดภาษาไทยได้ดีมากเลยนะครับ")
    captions.stretch(60.0)
    lines: list[str] = []
    for tenth in range(600):
        caption = captions.at(tenth / 10)
        assert caption
        line = "".join(
            word if index in caption.joined else f" {word}" for index, word in enumerate(caption.words)
        ).strip()
        if line not in lines:
            lines.append(line)
    assert " ".join(lines) == "สวัสดีครับ ผมชื่อเอดาและผมเป็นตัวละครที่วาดด้วยมือ พูดภาษาไทยได้ดีมากเลยนะครับ"
    assert len(lines) == 2


def test_an_utterance_of_hours_keeps_the_words_of_its_last_half_hour():
    """Memory is bounded, and the words that are being heard are still shown."""
    captions = Captions("")
    for number in range(3 * MAX_WORDS):
        captions.add([Word(f"{number}.", float(number), number + 1.0)])
        assert captions.at(number + 0.5) == Caption((f"{number}.",), 1)
    assert captions.at(MAX_WORDS) is None
    captions.add(timed(*(["all"] * (3 * MAX_WORDS))))
    assert captions.at(3 * MAX_WORDS - 1)
    assert captions.at(0) is None


@pytest.mark.parametrize("text", ["", "   "])
def test_no_words_no_captions(text: str):
    captions = Captions(text)
    captions.stretch(1.0)
    assert captions.at(1.0) is None


def test_words_that_were_told_as_one_keep_their_blanks() -> None:
    """espeak-ng times "I am" as one word; it is shown with the blank that it was written with."""
    assert [(word.text, word.joined) for word in parts_of(Word("I am", 0.0, 0.4), "Hello,")] == [
        ("I", False),
        ("am", False),
    ]
