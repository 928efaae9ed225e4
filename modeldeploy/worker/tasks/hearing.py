"""What the tasks on a model that hears share: samples in, features, batches of them."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, ClassVar

import torch

from modeldeploy.errors import InvalidRequest
from modeldeploy.worker.adapter import Inputs, Parameters, Source
from modeldeploy.worker.failures import one_line
from modeldeploy.worker.loading import processors
from modeldeploy.worker.tasks import audio
from modeldeploy.worker.tasks.model import ModelAdapter

Features = dict[str, torch.Tensor]  # as the extractor makes them of one sound: (1, ...) each

# With a norm of each frame by itself (feat_extract_norm "layer") and a mask, what they say of a
# sound does not depend on the padding behind it. With a norm over time it does.
_MASKED = frozenset({"wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio"})
_PADDED = "padded"


class Hearing(ModelAdapter[Inputs, Parameters]):
    """``longest`` is the limit of one sound in seconds, ``rate`` the model's samples a second."""

    quick_pre = False
    longest: ClassVar[float] = 120.0

    def prepare(self, source: Source) -> None:
        self.extractor = processors.load_feature_extractor(source)
        self.rate = int(self.extractor.sampling_rate)
        self.shortest = _receptive_field(self.config)
        self.pads = (
            self.config.model_type in _MASKED
            and self.config.feat_extract_norm == "layer"
            and not getattr(self.config, "add_adapter", False)
        )

    def samples(self, given: str | bytes) -> audio.Samples:
        """The sound at the model's rate.

        Raises:
            UrlNotAllowed, InvalidRequest, InputTooLong
        """
        samples = audio.decode(given, self.rate, self.longest)
        if len(samples) < self.shortest:
            raise InvalidRequest(
                f"audio: it has {len(samples)} samples at the model's {self.rate} a second, "
                f"the model needs {self.shortest}",
                hint="send more of it",
            )
        return samples

    def features(self, samples: audio.Samples, **how: Any) -> Features:
        """
        Raises:
            InvalidRequest: the model's feature extractor cannot take it.
        """
        try:
            made = self.extractor(samples, sampling_rate=self.rate, return_tensors="pt", **how)
            return {name: torch.as_tensor(value) for name, value in made.items()}
        except Exception as error:  # extractors raise what they like on lengths they do not
            raise InvalidRequest(
                f"audio: the model's feature extractor cannot take it: {one_line(error)}",
                hint="is it long enough, and of the kind that the model was made for?",
            ) from error

    def seconds(self, samples: audio.Samples) -> int:
        """What it costs beside others."""
        return math.ceil(len(samples) / self.rate)

    def key(self, features: Features) -> Hashable:
        """Equal for features that :meth:`together` can put into one call."""
        if self.pads:
            return _PADDED
        return tuple((name, tuple(tensor.shape)) for name, tensor in sorted(features.items()))

    def together(self, items: list[Features]) -> Features:
        """One batch, in the model's dtype."""
        batch = self._padded(items) if self.pads else _stacked(items)
        dtype = self.model.dtype
        return {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in batch.items()
        }

    def _padded(self, items: list[Features]) -> Features:
        rows = [one["input_values"][0] for one in items]
        longest = max(map(len, rows))
        values = torch.zeros(len(rows), longest)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for at, row in enumerate(rows):
            values[at, : len(row)] = row
            mask[at, : len(row)] = 1
        return {"input_values": values, "attention_mask": mask}

    def frames(self, samples: int) -> int:
        """Outputs that a convolutional front makes of so many samples."""
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


def _stacked(items: list[Features]) -> Features:
    return {name: torch.cat([one[name] for one in items]) for name in items[0]}


def _receptive_field(config: Any) -> int:
    """Samples that one output needs, by the convolutions of a model that hears raw waves."""
    samples = 1
    kernels = getattr(config, "conv_kernel", None) or ()
    strides = getattr(config, "conv_stride", None) or ()
    if isinstance(kernels, list | tuple) and isinstance(strides, list | tuple):
        for kernel, stride in reversed(list(zip(kernels, strides, strict=False))):
            samples = (samples - 1) * stride + kernel
    return int(samples)
