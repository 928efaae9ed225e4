"""Logits to labels and scores, as transformers' classification pipelines do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from modeldeploy.errors import PredictionFailed
from modeldeploy.schema.tasks.text import FunctionToApply, Label

Floats = npt.NDArray[np.float32]


def default_function(config: Any, one_label: FunctionToApply = "sigmoid") -> FunctionToApply:
    """What the model's config says: its ``problem_type``, else the number of its labels.

    The audio pipeline knows no ``one_label`` of its own; the others take the sigmoid there.
    """
    problem = getattr(config, "problem_type", None)
    if problem == "regression":
        return "none"
    if problem == "multi_label_classification":
        return "sigmoid"
    return one_label if config.num_labels == 1 else "softmax"


def softmax(logits: Floats) -> Floats:
    powers: Floats = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]  # numpy's sum is Any


def sigmoid(logits: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)


_FUNCTIONS: dict[FunctionToApply, Callable[[Floats], Floats]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": np.asarray,
}


def labels(
    logits: Floats, function: FunctionToApply, names: dict[int, str], top_k: int
) -> list[Label]:
    """The ``top_k`` best labels of one row of logits, best first.

    Raises:
        PredictionFailed: the model computed something that is not a number.
    """
    scores = _FUNCTIONS[function](logits)
    check_numbers(scores)
    best = np.argsort(-scores, kind="stable")[:top_k]
    return [Label(str(names.get(int(at), f"LABEL_{at}")), float(scores[at])) for at in best]


def check_numbers(values: Any, what: str = "scores") -> None:
    """
    Raises:
        PredictionFailed: an array or a CPU tensor holds something that is not a finite number.
    """
    if not np.isfinite(np.asarray(values)).all():
        raise not_numbers(what)


def not_numbers(what: str = "scores") -> PredictionFailed:
    return PredictionFailed(
        f"the model's {what} are not numbers for this input",
        hint="a wider dtype may help: --dtype float32",
    )
