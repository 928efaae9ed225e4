"""Speech recognition by models that label each moment with a letter (connectionist temporal
classification): the best label of each, equal neighbours and blanks left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.schema.tasks.audio import SpeechChunk, SpeechRecognitionParameters, Transcript
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.tasks.audio import Samples
from modeldeploy.worker.tasks.hearing import Features
from modeldeploy.worker.tasks.scores import not_numbers
from modeldeploy.worker.tasks.speech_parts import Stride, cut

if TYPE_CHECKING:
    from modeldeploy.worker.tasks.speech_recognition import SpeechRecognition

_PART_SECONDS = 30.0
_WHOLE_SECONDS = 120.0
_UNKNOWN = ("language", "task", "max_new_tokens", "num_beams", "generation_parameters")


@dataclass
class Part:
    features: Features
    stride: Stride


class Ctc:
    """``align`` is the samples that one output stands for; 1 where the model does not say, and
    then it neither hears in parts nor tells times."""

    def __init__(self, hearing: SpeechRecognition, tokenizer: Any) -> None:
        self._hearing = hearing
        self._tokenizer = tokenizer
        ratio = getattr(hearing.config, "inputs_to_logits_ratio", 1)
        self._align = int(ratio) if hearing.model.main_input_name == "input_values" else 1

    def check(self, parameters: SpeechRecognitionParameters) -> None:
        for name in _UNKNOWN:
            if getattr(parameters, name) is not None:
                raise InvalidRequest(
                    f"{name}: this model (CTC) does not take it", hint="leave it out"
                )
        if parameters.return_timestamps is True:
            raise InvalidRequest(
                'return_timestamps: this model (CTC) takes "word" or "char"',
                hint="true stands for segments, which only Whisper has",
            )
        if parameters.return_timestamps and not self._tells_times():
            raise InvalidRequest(
                "return_timestamps: this model does not tell times", hint="leave it out"
            )

    def _tells_times(self) -> bool:
        return self._align > 1 and hasattr(self._tokenizer, "replace_word_delimiter_char")

    def items(self, samples: Samples, parameters: SpeechRecognitionParameters) -> list[Item]:
        hearing = self._hearing
        if self._align == 1:
            if len(samples) > _WHOLE_SECONDS * hearing.rate:
                raise InputTooLong(
                    f"audio: it is longer than {_WHOLE_SECONDS:g} seconds, the limit of this model",
                    hint="send it in parts",
                )
            return [self._item(samples, Stride(len(samples), 0, 0))]
        asked = cut(parameters, _PART_SECONDS, hearing.rate, self._align)
        if asked.length < hearing.shortest:
            raise InvalidRequest(
                f"chunk_length_s: the model needs parts of {hearing.shortest / hearing.rate:g} seconds",
                hint="make it longer, or leave it out",
            )
        return [self._item(*part) for part in asked.parts(samples, hearing.shortest)]

    def _item(self, samples: Samples, stride: Stride) -> Item:
        hearing = self._hearing
        features = hearing.features(samples, return_attention_mask=True)
        return Item(Part(features, stride), hearing.seconds(samples), hearing.key(features))

    def run(self, items: list[Item]) -> list[Any]:
        hearing = self._hearing
        parts: list[Part] = [item.data for item in items]
        logits = hearing.call(**hearing.together([part.features for part in parts])).logits
        if not torch.isfinite(logits).all():
            raise not_numbers()
        rows = logits.argmax(dim=-1).cpu().numpy()
        return [self._kept(row, part.stride) for row, part in zip(rows, parts, strict=True)]

    def _kept(self, row: Any, stride: Stride) -> Any:
        """The labels of a part without those of its context and of padding behind it."""
        if self._align == 1:
            return row
        if self._hearing.pads:
            row = row[: self._hearing.frames(stride.length)]
        # As the pipeline counts (transformers, automatic_speech_recognition.rescale_stride).
        frames = round(stride.length / self._align)
        left = round(stride.left / stride.length * frames)
        right = round(stride.right / stride.length * frames)
        return row[left : frames - right]

    def transcript(self, raws: list[Any], parameters: SpeechRecognitionParameters) -> Transcript:
        ids = np.concatenate(raws)
        by = parameters.return_timestamps
        if not by:
            return Transcript(self._tokenizer.decode(ids))
        found = self._tokenizer.decode(ids, **{f"output_{by}_offsets": True})
        return Transcript(
            found["text"],
            [
                SpeechChunk(
                    one[by], (self._time(one["start_offset"]), self._time(one["end_offset"]))
                )
                for one in found[f"{by}_offsets"]
            ],
        )

    def _time(self, offset: int) -> float:
        return int(offset) * self._align / self._hearing.rate
