"""From logits to the next token of each row, each with its own parameters.

Whatever the company, a row's choice depends on its own logits and its own random numbers alone:
one uniform number a token, looked up in the row's cumulated probabilities.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from modeldeploy.schema.tasks.generation import COLDEST
from modeldeploy.worker.generation import warping
from modeldeploy.worker.generation.history import History

_WIDE = 1024  # candidates among which top-p nearly always finds enough


# (token ids so far, scores) of shapes (1, length) and (1, vocabulary) to scores.
Processors = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Sampling:
    """How one request's tokens are chosen; ``temperature`` None takes the likeliest, or with
    ``beams`` searches for the likeliest text."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_h: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    beams: int = 1
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool = False
    top_n: int = 0

    @property
    def penalises(self) -> bool:
        """Whether what was written before matters."""
        return bool(
            (self.repetition_penalty or 1.0) != 1.0
            or self.frequency_penalty
            or self.presence_penalty
        )


@dataclass
class Chooser:
    """One row's choosing: its parameters, its random numbers, the tokens that penalties look at.
    ``rules`` are the model's own processors, the repetition penalty among them."""

    how: Sampling
    numbers: random.Random
    prompt: Sequence[int] = ()
    rules: Processors | None = None
    written: list[int] = field(default_factory=list)
    _history: History | None = field(default=None, init=False)

    @property
    def edits(self) -> bool:
        """Whether the choice is not of the model's logits as they are."""
        return self.rules is not None or self.how.penalises

    def history(self, device: torch.device) -> History:
        """Of prompt and text."""
        self._history = self._history or History(self.prompt, device)
        return self._history


@dataclass(frozen=True)
class Choice:
    """A token and, where asked for, its logprob and the likeliest ones with theirs."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


Draw = Callable[[torch.Tensor, Sequence[Chooser]], torch.Tensor]


def choose(logits: torch.Tensor, choosers: Sequence[Chooser]) -> list[Choice | None]:
    """The next token of each row of ``logits`` (rows, vocabulary); None for a row whose logits
    are not numbers."""
    plain = logits.float()
    scores = _edited(plain, choosers)
    tokens = scores.argmax(-1)
    ways = [_way(one.how) for one in choosers]  # which must not hang on company
    for draw in {way for way in ways if way}:
        rows = [at for at, way in enumerate(ways) if way is draw]
        tokens[rows] = draw(scores[rows], [choosers[at] for at in rows])
    chosen = tokens.tolist()
    sane = (~plain.isnan().any(-1) & plain.amax(-1).isfinite()).tolist()
    return [
        choice_of(plain[at], token, choosers[at].how) if sane[at] else None
        for at, token in enumerate(chosen)
    ]


def choice_of(logits: torch.Tensor, token: int, how: Sampling) -> Choice:
    """``token`` with what is asked of it, from the model's own ``logits`` (vocabulary)."""
    if not (how.logprobs or how.top_n):
        return Choice(token)
    logprobs = logits.log_softmax(-1)
    if not how.top_n:
        return Choice(token, float(logprobs[token]))
    values, indices = logprobs.topk(min(how.top_n, len(logprobs)))
    top = tuple(zip(indices.tolist(), values.tolist(), strict=True))
    return Choice(token, float(logprobs[token]), top)


def _edited(logits: torch.Tensor, choosers: Sequence[Chooser]) -> torch.Tensor:
    rows = [at for at, one in enumerate(choosers) if one.edits]
    if not rows:
        return logits
    logits = logits.clone()
    for at in rows:
        chooser = choosers[at]
        if chooser.rules is not None:
            so_far = chooser.history(logits.device).so_far(chooser.written)
            logits[at] = chooser.rules(so_far[None], logits[at : at + 1])[0]
        _penalise(logits[at], chooser)
    return logits


def _penalise(logits: torch.Tensor, chooser: Chooser) -> None:
    """In place: the repetition penalty of CTRL (arXiv 1909.05858) over prompt and text, OpenAI's
    frequency and presence penalties over the text alone."""
    how = chooser.how
    if chooser.rules is None and (factor := how.repetition_penalty or 1.0) != 1.0:
        seen = chooser.history(logits.device).seen(chooser.written)
        before = logits[seen]
        logits[seen] = torch.where(before > 0, before / factor, before * factor)
    if chooser.written and (how.frequency_penalty or how.presence_penalty):
        tokens, times = chooser.history(logits.device).counts(chooser.written)
        off = times * (how.frequency_penalty or 0.0) + (how.presence_penalty or 0.0)
        logits[tokens] -= off.to(logits)


def _draw_openly(scores: torch.Tensor, choosers: Sequence[Chooser]) -> torch.Tensor:
    """One token a row, of all there are."""
    return _look_up(_warmed(scores, choosers), _numbers(choosers, scores.device))


def _draw_among(scores: torch.Tensor, choosers: Sequence[Chooser]) -> torch.Tensor:
    """One token a row, of those that its top-k and top-p leave. Equals come in an order that depends
    on how many are looked at, so that must not hang on company either."""
    probabilities, size = _warmed(scores, choosers), scores.shape[-1]
    numbers = _numbers(choosers, scores.device)
    tokens = scores.new_empty(len(choosers), dtype=torch.long)
    todo: dict[int, list[int]] = {}
    for at, one in enumerate(choosers):
        todo.setdefault(min(size, one.how.top_k or _WIDE), []).append(at)
    while todo:
        width, rows = todo.popitem()
        which = slice(None) if len(rows) == len(choosers) else rows  # a slice copies nothing
        kept, order, short = _kept(probabilities[which], width, [choosers[at] for at in rows])
        tokens[which] = order.gather(1, _look_up(kept, numbers[which])[:, None])[:, 0]
        if short:
            todo[size] = sorted([*todo.get(size, []), *(rows[at] for at in short)])
    return tokens


def _draw_warped(scores: torch.Tensor, choosers: Sequence[Chooser]) -> torch.Tensor:
    """One token a row, of those that the rarer ways leave."""
    left = [
        warping.warped(scores[at : at + 1], one.how, max(one.how.temperature or 1.0, COLDEST))
        for at, one in enumerate(choosers)
    ]
    return _look_up(torch.cat(left).softmax(-1), _numbers(choosers, scores.device))


def _warmed(scores: torch.Tensor, choosers: Sequence[Chooser]) -> torch.Tensor:
    warmth = [max(one.how.temperature or 1.0, COLDEST) for one in choosers]
    return (scores / torch.tensor(warmth, device=scores.device)[:, None]).softmax(-1)


def _numbers(choosers: Sequence[Chooser], device: torch.device) -> torch.Tensor:
    """In double precision: a number that is rounded to 1 would choose what was left out."""
    numbers = [one.numbers.random() for one in choosers]
    return torch.tensor(
        numbers, dtype=torch.float64, device="cpu" if _no_doubles(device) else device
    )


def _no_doubles(device: torch.device) -> bool:
    return device.type == "mps"


def _way(how: Sampling) -> Draw | None:
    if how.temperature is None:
        return None
    if warping.is_rare(how):
        return _draw_warped
    return _draw_openly if _is_open(how) else _draw_among


def _is_open(how: Sampling) -> bool:
    return not how.top_k and (how.top_p is None or how.top_p >= 1)


def _kept(
    probabilities: torch.Tensor, width: int, choosers: Sequence[Chooser]
) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """The ``width`` best of each row, best first, with 0 for those that top-k and top-p leave out,
    and their tokens; and the rows whose top-p needs more of them."""
    best, order = probabilities.topk(width)
    device, size = best.device, probabilities.shape[-1]
    ks = torch.tensor([one.how.top_k or size for one in choosers], device=device)
    ps = torch.tensor([one.how.top_p or 1.0 for one in choosers], device=device)[:, None]
    best = best * (torch.arange(width, device=device) < ks[:, None])
    among = torch.where(ks[:, None] < size, best.sum(-1, keepdim=True), torch.ones_like(ps))
    before = best.cumsum(-1) - best
    short = []
    if width < size:
        needs_more = (best.sum(-1, keepdim=True) < ps * among) & (ps < 1)
        short = [at for at, more in enumerate(needs_more[:, 0].tolist()) if more]
    return best * (before < ps * among), order, short


def _look_up(weights: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Where each row's cumulated weights pass its number (0 to 1) of their sum."""
    cumulated = weights.to(numbers.device).double().cumsum(-1)
    wanted = numbers[:, None] * cumulated[:, -1:]
    found = torch.searchsorted(cumulated, wanted, right=True)[:, 0]
    return found.clamp(max=weights.shape[-1] - 1).to(weights.device)
