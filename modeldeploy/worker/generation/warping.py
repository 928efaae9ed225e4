"""The rarer ways to leave unlikely tokens out before one is drawn, as transformers does them.

``min_p`` (arXiv 2407.01082), ``typical_p`` (2202.00666), ``top_h`` (2509.02510), ``epsilon_cutoff``
and ``eta_cutoff`` (2210.15191), together with temperature, top-k and top-p in transformers' order.
"""

from __future__ import annotations

from typing import Protocol

import torch
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)


class Way(Protocol):
    """Of a request's sampling, what is looked at here."""

    @property
    def top_k(self) -> int | None: ...
    @property
    def top_p(self) -> float | None: ...
    @property
    def min_p(self) -> float | None: ...
    @property
    def typical_p(self) -> float | None: ...
    @property
    def top_h(self) -> float | None: ...
    @property
    def epsilon_cutoff(self) -> float | None: ...
    @property
    def eta_cutoff(self) -> float | None: ...


def is_rare(how: Way) -> bool:
    """Whether it needs this module."""
    return (
        how.min_p is not None
        or how.top_h is not None
        or _is_inside(how.typical_p)
        or _is_inside(how.epsilon_cutoff)
        or _is_inside(how.eta_cutoff)
    )


def warped(scores: torch.Tensor, how: Way, temperature: float) -> torch.Tensor:
    """The ``scores`` (1, vocabulary) of one row, -inf for what is left out."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(float(temperature))])
    if how.top_h is not None:
        from transformers.generation.logits_process import TopHLogitsWarper  # not in every 5.x

        warpers.append(TopHLogitsWarper(how.top_h))
    if how.top_k:
        warpers.append(TopKLogitsWarper(how.top_k))
    if _is_inside(how.top_p):
        warpers.append(TopPLogitsWarper(how.top_p))
    if how.min_p is not None:
        warpers.append(MinPLogitsWarper(how.min_p))
    if _is_inside(how.typical_p):
        warpers.append(TypicalLogitsWarper(how.typical_p))
    if _is_inside(how.epsilon_cutoff):
        warpers.append(EpsilonLogitsWarper(how.epsilon_cutoff))
    if _is_inside(how.eta_cutoff):
        warpers.append(EtaLogitsWarper(how.eta_cutoff, device=scores.device))
    found: torch.Tensor = warpers(None, scores)
    return found


def _is_inside(share: float | None) -> bool:
    return share is not None and 0 < share < 1
