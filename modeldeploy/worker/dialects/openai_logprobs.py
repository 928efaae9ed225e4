"""Tokens with their logprobs, as the chat route and the old one tell them.

An entry tells the token itself, not what of the text became certain with it. Its name is its text;
that of a token that is no whole characters is ``bytes:`` and its bytes, those that are no
text as ``\\xf0\\x9f``, as OpenAI has them. Tokens that became a stop string are told too.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from modeldeploy.schema.tasks.generation import Token
from modeldeploy.worker.dialects.openai_types import (
    ChatLogprobs,
    TextLogprobs,
    TokenLogprob,
    TopLogprob,
)
from modeldeploy.worker.tasks.spelling import Speller


class Offsets:
    """Where in a text its tokens begin, in characters from ``start``; for one that begins within a
    character, where that one does."""

    def __init__(self, start: int = 0) -> None:
        self._at = start
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def next(self, raw: bytes) -> int:
        """The place of the next token, which is ``raw``."""
        self._at += len(self._decoder.decode(raw[:1]))
        is_whole = bool(raw) and not self._decoder.getstate()[0]
        at = self._at - 1 if is_whole else self._at
        self._at += len(self._decoder.decode(raw[1:]))
        return at


def chat_logprobs(
    speller: Speller, tokens: Sequence[Token], tops: Sequence[list[Token]]
) -> ChatLogprobs:
    """The bytes of all tokens are those of the text: a special token, which is not in it, has
    null."""
    return ChatLogprobs(
        content=[
            TokenLogprob(
                **_entry(speller, token),
                top_logprobs=[TopLogprob(**_entry(speller, one)) for one in top],
            )
            for token, top in zip(tokens, tops, strict=True)
        ]
    )


def text_logprobs(
    speller: Speller, tokens: Sequence[Token], tops: Sequence[list[Token]], offsets: Offsets
) -> TextLogprobs:
    """``top_logprobs`` has as many as were asked for: one whose name another has already is
    ``token_id:`` and its number."""
    return TextLogprobs(
        tokens=[_name(speller, token) for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=[_by_name(speller, top) for top in tops],
        text_offset=[offsets.next(_shown(speller, token) or b"") for token in tokens],
    )


def _entry(speller: Speller, token: Token) -> dict[str, Any]:
    shown = _shown(speller, token)
    return {
        "token": _name(speller, token),
        "logprob": token.logprob,
        "bytes": None if shown is None else list(shown),
    }


def _shown(speller: Speller, token: Token) -> bytes | None:
    return None if speller.is_special(token.id) else speller.spell(token.id)


def _name(speller: Speller, token: Token) -> str:
    raw = speller.spell(token.id)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + raw.decode(errors="backslashreplace")


def _by_name(speller: Speller, top: Sequence[Token]) -> dict[str, float]:
    found: dict[str, float] = {}
    for token in top:
        name = _name(speller, token)
        found[f"token_id:{token.id}" if name in found else name] = token.logprob
    return found
