"""Which languages a translator knows, and how it is told: by tokens, by words, or not at all.

mBART, M2M100 and NLLB read the source language's token beside the text and begin to write with
the target's; T5 reads a sentence; Marian models of several targets read ``>>fr<<``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.seq2seq import pair_of

_NAMED = 40
_LANGUAGE = re.compile(r"[a-z]{2,3}_[A-Za-z]{2,4}")
_MARIAN = re.compile(r">>(.+)<<")


@dataclass(frozen=True)
class Told:
    """How one text is given to the model.

    ``source`` replaces the tokenizer's own language token (old id, new id) beside the text,
    ``first`` is the token that the translation begins with, ``task`` what the config says of the
    pair.
    """

    text: str
    source: tuple[int, int] | None = None
    first: int | None = None
    task: dict[str, Any] = field(default_factory=dict)


class Languages(ABC):
    """``is_choice`` says whether there is one, so that a default for it makes sense."""

    is_choice: ClassVar[bool] = True

    @abstractmethod
    def tell(self, text: str, source: str | None, target: str | None) -> Told:
        """
        Raises:
            InvalidRequest: it is not a language of the model.
        """


def languages_of(tokenizer: Any, model: Any) -> Languages:
    """Those of a model with its tokenizer."""
    tasks = getattr(model.config, "task_specific_params", None) or {}
    codes = _codes(tokenizer)
    if codes:
        return ByToken(codes, tokenizer.src_lang, model.generation_config.forced_bos_token_id)
    pairs = {pair: tasks[key] for key in tasks if (pair := pair_of(key))}
    if pairs:
        return BySentence(pairs)
    marks = getattr(tokenizer, "supported_language_codes", None) or []
    targets = [found[1] for one in marks if (found := _MARIAN.fullmatch(one))]
    if targets:
        return ByMark(targets)
    return OnePair(tokenizer)


def _codes(tokenizer: Any) -> dict[str, int]:
    """Language codes to token ids, of a tokenizer that has a source language."""
    if not hasattr(tokenizer, "src_lang"):
        return {}
    tokens = getattr(tokenizer, "lang_code_to_token", None) or {
        token: token for token in tokenizer.all_special_tokens if _LANGUAGE.fullmatch(token)
    }
    ids = {code: tokenizer.convert_tokens_to_ids(token) for code, token in tokens.items()}
    return {code: found for code, found in ids.items() if found != tokenizer.unk_token_id}


class ByToken(Languages):
    def __init__(self, codes: dict[str, int], source: str, first: int | None) -> None:
        self._codes = codes
        self._source = source
        self._first = first if first in codes.values() else None

    def tell(self, text: str, source: str | None, target: str | None) -> Told:
        spoken = _match("src_lang", source, self._codes) if source else self._source
        old, new = self._codes[self._source], self._codes[spoken]
        return Told(text, (old, new), self._first_token(spoken, target))

    def _first_token(self, source: str, target: str | None) -> int | None:
        if target:
            return self._codes[_match("tgt_lang", target, self._codes)]
        if self._first is not None:
            return self._first
        wanted = "en" if source.startswith("fr") else "fr"
        return next((at for code, at in self._codes.items() if code.startswith(wanted)), None)


class BySentence(Languages):
    """``pairs`` of (source, target) to their settings; their ``prefix`` is the sentence. A text
    that begins with one of them keeps it."""

    def __init__(self, pairs: dict[tuple[str, str], dict[str, Any]]) -> None:
        self._pairs = pairs

    def tell(self, text: str, source: str | None, target: str | None) -> Told:
        for pair in self._pairs.values():
            if text.startswith(pair.get("prefix") or "\0"):
                return Told(text, task=pair)
        pair = self._pairs[self._pair(source, target)]
        return Told(f"{pair.get('prefix') or ''}{text}", task=pair)

    def _pair(self, source: str | None, target: str | None) -> tuple[str, str]:
        fitting = [pair for pair in self._pairs if (source or pair[0], target or pair[1]) == pair]
        if not fitting:
            known = ", ".join(f"{one} to {other}" for one, other in self._pairs)
            raise InvalidRequest(
                f"src_lang, tgt_lang: the model does not translate {source or 'anything'} "
                f"to {target or 'anything'}",
                hint=f"it knows {known}; or begin the text with an instruction of your own",
            )
        return ("en", "fr") if ("en", "fr") in fitting else fitting[0]


class ByMark(Languages):
    def __init__(self, targets: list[str]) -> None:
        self._targets = targets

    def tell(self, text: str, source: str | None, target: str | None) -> Told:
        if not target:
            return Told(text)
        return Told(f">>{_match('tgt_lang', target, self._targets)}<< {text}")


class OnePair(Languages):
    """A model that has no choice: languages are refused unless they are its own."""

    is_choice = False

    def __init__(self, tokenizer: Any) -> None:
        told = tokenizer.init_kwargs  # as tokenizer_config.json has them
        self._own = {"src_lang": told.get("source_lang"), "tgt_lang": told.get("target_lang")}

    def tell(self, text: str, source: str | None, target: str | None) -> Told:
        for name, asked in (("src_lang", source), ("tgt_lang", target)):
            if asked and asked != self._own[name]:
                raise InvalidRequest(
                    f"{name}: the model translates one pair of languages and knows no {asked!r}",
                    hint="leave src_lang and tgt_lang out",
                )
        return Told(text)


def _match(name: str, asked: str, codes: Collection[str]) -> str:
    """The code that was meant: itself, or the only one that begins with it."""
    if asked in codes:
        return asked
    folded = asked.casefold()
    found = [one for one in codes if one.casefold() == folded] or [
        one for one in codes if one.casefold().split("_")[0] == folded
    ]
    if len(found) == 1:
        return found[0]
    candidates = sorted(found or codes)
    more = f" and {len(candidates) - _NAMED} more" if len(candidates) > _NAMED else ""
    raise InvalidRequest(
        f"{name}: {asked!r} is {'more than one' if found else 'not a'} language of this model",
        hint=f"one of: {', '.join(candidates[:_NAMED])}{more}",
    )
