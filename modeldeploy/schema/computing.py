"""How a deployment is to compute: what of it is asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

# "no": as transformers runs it. "equal": faster where results stay those of float32. "close": also
# where they differ by no more than a stated tolerance.
Optimize = Literal["no", "equal", "close"]
Backend = Literal["auto", "torch", "onnx", "openvino"]

BatchSize = Annotated[int, Meta(ge=1, le=4096, description="Inputs of one call.")]
BatchTokens = Annotated[int, Meta(ge=1, le=10**6, description="Tokens of one call.")]
BatchWindow = Annotated[float, Meta(ge=0, le=10, description="Seconds to wait for company.")]


class Batching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is fixed of how inputs share a call of the model; None: what measures best.

    ``max_size`` is in place of the task's own most; ``max_tokens`` is for calls that are counted in
    tokens. ``window`` is how many seconds after the first a call waits for company when fewer than
    fit are there. Where texts are written, rows join a running batch: at most ``max_size`` of them,
    with ``max_tokens`` read and to be written in all, and none waits.
    """

    max_size: BatchSize | None = None
    max_tokens: BatchTokens | None = None
    window: BatchWindow = 0.0

    @property
    def fixed(self) -> list[str]:
        """Which of the limits are, by the names of the options."""
        limits = {"max_batch_size": self.max_size, "max_batch_tokens": self.max_tokens}
        return [name for name, value in limits.items() if value is not None]
