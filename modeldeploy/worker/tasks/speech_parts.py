"""Long speech in overlapping parts, as transformers' speech recognition pipeline cuts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.audio import SpeechRecognitionParameters
from modeldeploy.worker.tasks.audio import Samples


@dataclass(frozen=True)
class Stride:
    """Samples of a part, and of these, at its beginning and its end, those that neighbours have
    too: they are heard for context and say nothing."""

    length: int
    left: int
    right: int


@dataclass(frozen=True)
class Cut:
    """Samples of a part and of the context on each side, multiples of one output's samples."""

    length: int
    context: int

    def parts(self, samples: Samples, shortest: int) -> Iterator[tuple[Samples, Stride]]:
        """Parts shorter than ``shortest`` samples are left out: nothing can be heard in them."""
        step = self.length - 2 * self.context
        for start in range(0, len(samples), step):
            part = samples[start : start + self.length]
            is_last = start + self.length >= len(samples)
            stride = Stride(len(part), self.context if start else 0, 0 if is_last else self.context)
            if len(part) > max(stride.left, shortest - 1):
                yield part, stride
            if is_last:
                return


def cut(parameters: SpeechRecognitionParameters, default: float, rate: int, align: int) -> Cut:
    """How ``parameters`` ask for it; ``default`` stands for ``chunk_length_s``.

    Raises:
        InvalidRequest: the context leaves nothing of a part.
    """
    seconds = parameters.chunk_length_s or default
    context = parameters.stride_length_s
    found = Cut(
        _aligned(seconds, rate, align),
        _aligned(seconds / 6 if context is None else context, rate, align),
    )
    if found.length <= 2 * found.context:
        raise InvalidRequest(
            f"stride_length_s: two strides leave nothing of a part of {seconds:g} seconds",
            hint="make it less than half of chunk_length_s",
        )
    return found


def _aligned(seconds: float, rate: int, align: int) -> int:
    return round(seconds * rate / align) * align
