"""What the clients' tests of the OpenAI dialect do not come by."""

from __future__ import annotations

import pytest

from modeldeploy.schema.tasks.generation import Token
from modeldeploy.worker.dialects.openai_logprobs import Offsets, chat_logprobs, text_logprobs
from modeldeploy.worker.tasks.spelling import Speller
from tests.models import tiny


@pytest.mark.parametrize(
    ("tokens", "offsets"),
    [
        ([b"a", b" bc", b"d"], [3, 4, 7]),
        ([b"a\xf0\x9f", b"\xa6", b"\xa9", b"b"], [3, 4, 4, 5]),
        ([b"\xd3", b"m", b"\x80", b"\xe6", b"\xe9", b"x"], [3, 4, 5, 6, 7, 8]),
        ([b"a", b"", b"b"], [3, 4, 4]),
    ],
)
def test_a_token_begins_where_its_first_character_stands(
    tokens: list[bytes], offsets: list[int]
) -> None:
    found = Offsets(3)
    assert [found.next(token) for token in tokens] == offsets


def test_alternatives_of_one_name_and_special_tokens() -> None:
    speller = Speller(tiny.byte_level())
    nowhere = [Token(10_000 + at, "", -1.0 - at, special=False) for at in range(2)]
    top = [Token(0, "", -0.5, special=True), *nowhere]
    old = text_logprobs(speller, top[:1], [top], Offsets())
    assert old.top_logprobs == [{"<|endoftext|>": -0.5, "": -1.0, "token_id:10001": -2.0}]
    (entry,) = chat_logprobs(speller, top[:1], [top]).content
    assert (entry.token, entry.bytes) == ("<|endoftext|>", None)
    assert [one.bytes for one in entry.top_logprobs] == [None, [], []]
