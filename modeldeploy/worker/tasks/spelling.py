"""What a single token stands for, whatever comes before and after it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-F]{2})>\Z")
_ANCHOR = "x"  # decoders treat a text's first token as another than those behind it
_REMEMBERED = 65536


class Speller:
    """A tokenizer's tokens one by one: what decoding a token alone loses of it.

    Byte-level vocabularies (GPT-2 and its heirs) write a byte as a character of its own,
    SentencePiece's with byte fallback as ``<0xNN>``; a token of either may end within a
    character.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._decoder = getattr(backend, "decoder", None)
        self._kinds = frozenset(_kinds(self._decoder)) if self._decoder is not None else frozenset()
        self._added = dict(getattr(tokenizer, "added_tokens_decoder", {}))
        self._end = max([len(tokenizer) - 1, *self._added]) + 1
        self._special = frozenset(tokenizer.all_special_ids)
        self.spell = lru_cache(_REMEMBERED)(self._spell)

    def is_special(self, token: int) -> bool:
        """Whether a text that is decoded does not have it."""
        added = self._added.get(token)
        return token in self._special or bool(added and added.special)

    def _spell(self, token: int) -> bytes:
        """The token's own bytes, in UTF-8 where it is whole characters: a space that it begins
        with included, a special token by its name. Empty for an id that no token has."""
        if (added := self._added.get(token)) is not None:
            return str(added.content).encode()
        if self._decoder is None and token >= self._end:  # which slow tokenizers do not survive
            return b""
        piece = self._tokenizer.convert_ids_to_tokens(token)
        if piece is None:
            return b""
        if "ByteLevel" in self._kinds and all(one in _BYTES for one in piece):
            return bytes(_BYTES[one] for one in piece)
        falls_back = self._decoder is None or "ByteFallback" in self._kinds
        if falls_back and (byte := _BYTE.match(piece)):
            return bytes.fromhex(byte[1])
        if self._decoder is None:
            return str(self._tokenizer.decode([token])).encode()
        decoded: str = self._decoder.decode([_ANCHOR, piece])
        return decoded[len(_ANCHOR) :].encode()


def _kinds(decoder: Any) -> Iterator[str]:
    """The types of a decoder's parts."""
    state = json.loads(decoder.__getstate__())
    waiting = [state]
    while waiting:
        one = waiting.pop()
        yield one["type"]
        waiting += one.get("decoders", [])


def _byte_characters() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for: printable ones for
    themselves, the others for characters from U+0100 on (GPT-2's ``bytes_to_unicode``)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    found = {chr(byte): byte for byte in plain}
    return found | {chr(0x100 + at): byte for at, byte in enumerate(others)}


_BYTES = _byte_characters()
