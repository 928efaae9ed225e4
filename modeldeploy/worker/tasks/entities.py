"""From each token's scores to entities, as transformers' token-classification pipeline does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modeldeploy.schema.tasks.tagging import Aggregation, Entity

Floats = npt.NDArray[np.float32]
Join = Callable[[list[str]], str]


@dataclass(frozen=True)
class Piece:
    """One token: its scores over the labels, where in the text it is, and whether it goes on with
    the word of the token before it."""

    word: str
    scores: Floats
    start: int | None
    end: int | None
    index: int
    is_subword: bool


@dataclass(frozen=True)
class _Tagged:
    """A token or a word with its label."""

    label: str
    score: float
    word: str
    start: int | None
    end: int | None


def entities(
    pieces: Sequence[Piece], how: Aggregation, names: dict[int, str], join: Join
) -> list[Entity]:
    """The entities of one text, in its order, those outside of any included."""
    if how == "none":
        return [_alone(piece, names) for piece in pieces]
    if how == "simple":
        tagged = [_tag([piece], piece.scores, names, join) for piece in pieces]
        tagged = [_named(one, piece.word) for one, piece in zip(tagged, pieces, strict=True)]
    else:
        tagged = [_tag(word, _WORD_SCORES[how](word), names, join) for word in _words(pieces)]
    return [_group(group, join) for group in _neighbours(tagged)]


def _named(one: _Tagged, word: str) -> _Tagged:
    return _Tagged(one.label, one.score, word, one.start, one.end)


def _alone(piece: Piece, names: dict[int, str]) -> Entity:
    best = int(piece.scores.argmax())
    return Entity(
        entity=names[best],
        score=float(piece.scores[best]),
        index=piece.index,
        word=piece.word,
        start=piece.start,
        end=piece.end,
    )


def _words(pieces: Sequence[Piece]) -> list[list[Piece]]:
    words: list[list[Piece]] = []
    for piece in pieces:
        if words and piece.is_subword:
            words[-1].append(piece)
        else:
            words.append([piece])
    return words


_WORD_SCORES: dict[str, Callable[[list[Piece]], Floats]] = {
    "first": lambda word: word[0].scores,
    "max": lambda word: max(word, key=lambda piece: float(piece.scores.max())).scores,
    "average": lambda word: np.stack([piece.scores for piece in word]).mean(0),
}


def _tag(word: list[Piece], scores: Floats, names: dict[int, str], join: Join) -> _Tagged:
    best = int(scores.argmax())
    text = join([piece.word for piece in word])
    return _Tagged(names[best], float(scores[best]), text, word[0].start, word[-1].end)


def _split(label: str) -> tuple[str, str]:
    """Whether a label begins an entity, and the entity's kind; one without a prefix goes on."""
    if label[:2] in {"B-", "I-"}:
        return label[0], label[2:]
    return "I", label


def _neighbours(tagged: Sequence[_Tagged]) -> list[list[_Tagged]]:
    groups: list[list[_Tagged]] = []
    for one in tagged:
        begins, kind = _split(one.label)
        if groups and begins != "B" and _split(groups[-1][-1].label)[1] == kind:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _group(group: list[_Tagged], join: Join) -> Entity:
    return Entity(
        entity_group=group[0].label.split("-", 1)[-1],
        score=float(np.mean([one.score for one in group])),
        word=join([one.word for one in group]),
        start=group[0].start,
        end=group[-1].end,
    )


def merged(found: list[Entity]) -> list[Entity]:
    """Of entities of several windows that overlap, the longer one, or the surer of equal ones."""
    kept: list[Entity] = []
    for one in sorted(found, key=lambda entity: entity.start or 0):
        if kept and _overlap(kept[-1], one):
            kept[-1] = max(kept[-1], one, key=_weight)
        else:
            kept.append(one)
    return kept


def _overlap(one: Entity, other: Entity) -> bool:
    return (one.start or 0) <= (other.start or 0) < (one.end or 0)


def _weight(one: Entity) -> Any:
    return ((one.end or 0) - (one.start or 0), one.score)
