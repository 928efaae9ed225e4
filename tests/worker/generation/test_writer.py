from __future__ import annotations

from collections.abc import Sequence

import pytest

from modeldeploy.worker.generation.writer import Writer


def _bytes(ids: list[int]) -> str:
    """A tokenizer whose tokens are bytes."""
    return bytes(ids).decode("utf-8", "replace")


def _write(
    text: str, stops: Sequence[str] = (), prompt: str = "prompt"
) -> tuple[list[str], Writer]:
    writer = Writer(_bytes, list(prompt.encode()), stops)
    shown = []
    for byte in text.encode():
        shown.append(writer.push(byte))
        if writer.stopped:
            break
    return [*shown, writer.flush()], writer


@pytest.mark.parametrize("text", ["plain", "é", "日本語 ✓", "👩‍👩‍👧 family", ""])
def test_only_whole_characters_are_shown_and_none_is_lost(text: str) -> None:
    shown, writer = _write(text)
    assert "".join(shown) == writer.text == text
    assert not any("\ufffd" in piece for piece in shown)


def test_what_never_becomes_a_character_is_shown_at_the_end() -> None:
    writer = Writer(_bytes, [], ())
    assert writer.push(0xE6) == ""
    assert writer.flush() == "\ufffd"


@pytest.mark.parametrize("tokens", [[0xE6], [0], [0xE6, 0, 0xE6], [0] * 70 + [65]])
def test_few_tokens_are_decoded_at_a_time_whatever_they_are(tokens: list[int]) -> None:
    """Bytes that are no character, and tokens that add nothing to the text."""
    asked: list[int] = []

    def decode(ids: list[int]) -> str:
        asked.append(len(ids))
        return _bytes([one for one in ids if one])

    writer = Writer(decode, list(b"prompt"), ())
    many = tokens * (2000 // len(tokens))
    shown = [writer.push(token) for token in many] + [writer.flush()]
    assert max(asked) <= 80
    assert "".join(shown) == writer.text == _bytes([one for one in many if one])


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one STOP two", ["STOP"], "one "),
        ("one STO two", ["STOP"], "one STO two"),
        ("abcabd", ["abd"], "abc"),
        ("aaab", ["aab"], "a"),
        ("first\n\nsecond", ["zzz", "\n\n"], "first"),
        ("ends with ST", ["STOP"], "ends with ST"),
        ("é日", ["日"], "é"),
    ],
)
def test_a_stop_string_is_never_leaked(text: str, stops: list[str], expected: str) -> None:
    shown, writer = _write(text, stops)
    assert "".join(shown) == expected
    assert writer.stopped == (expected != text)
    for length in range(1, len(shown)):
        assert expected.startswith("".join(shown[:length]))


def test_the_first_token_is_decoded_behind_its_prompt() -> None:
    def spaced(ids: list[int]) -> str:
        return " ".join(f"w{one}" for one in ids)  # alone, a token has no space before it

    writer = Writer(spaced, [1, 2], ())
    assert [writer.push(3), writer.push(4), writer.flush()] == [" w3", " w4", ""]
