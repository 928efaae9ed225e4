"""Speech recognition by models that write what they hear, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from transformers import StoppingCriteriaList

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.schema.tasks.audio import SpeechRecognitionParameters, Transcript
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.tasks.audio import Samples
from modeldeploy.worker.tasks.decoding import BEAMS, SAMPLING, asked_of, new_tokens
from modeldeploy.worker.tasks.stopping import Abandoned
from modeldeploy.worker.tasks.tokens import positions_of

if TYPE_CHECKING:
    from modeldeploy.worker.tasks.speech_recognition import SpeechRecognition

_WHOLE_SECONDS = 120.0
_UNKNOWN = ("language", "task", "chunk_length_s", "stride_length_s")
# The pipeline's own, where neither the model nor the caller says otherwise.
_BEAMS, _NEW_TOKENS = 5, 256


class Writing:
    """Any of them; Whisper can more. ``prompt_tokens`` are those that the decoder begins with."""

    prompt_tokens: ClassVar[int] = 1

    def __init__(self, hearing: SpeechRecognition, tokenizer: Any) -> None:
        self.hearing = hearing
        self.tokenizer = tokenizer
        self.generation = hearing.model.generation_config
        self._special = frozenset(tokenizer.all_special_ids)
        self._defaults = self._found_defaults()

    def _found_defaults(self) -> dict[str, Any]:
        """What the pipeline adds to the model's own generation config."""
        own = self.generation.to_diff_dict()
        added = {"num_beams": _BEAMS, "pad_token_id": self.tokenizer.pad_token_id}
        if "max_length" not in own:
            added["max_new_tokens"] = _NEW_TOKENS
        return {key: value for key, value in added.items() if key not in own and value is not None}

    def check(self, parameters: SpeechRecognitionParameters) -> None:
        self.check_lengths(parameters)
        if parameters.return_timestamps:
            raise InvalidRequest(
                "return_timestamps: this model does not tell times", hint="leave it out"
            )
        for name in _UNKNOWN:
            if getattr(parameters, name) is not None:
                raise InvalidRequest(f"{name}: this model does not take it", hint="leave it out")

    def check_lengths(self, parameters: SpeechRecognitionParameters) -> None:
        """
        Raises:
            InvalidRequest: the decoder has not so many positions, or the lengths contradict.
        """
        room = self._room()
        if room is not None and asked_of(parameters).get("max_new_tokens", 0) > room:
            raise InvalidRequest(
                f"max_new_tokens: this model writes at most {room} at once", hint="lower it"
            )
        self._lengths(parameters)

    def _room(self) -> int | None:
        positions = positions_of(self.hearing.config.get_text_config(decoder=True))
        return None if positions is None else positions - self.prompt_tokens

    def _lengths(self, parameters: SpeechRecognitionParameters) -> dict[str, int]:
        """As numbers of new tokens; ``max_length`` holds as far as there is room."""
        found = new_tokens(asked_of(parameters), 1)
        room = self._room()
        if room is not None and "max_new_tokens" in found:
            found["max_new_tokens"] = min(found["max_new_tokens"], room)
        return found

    def items(self, samples: Samples, parameters: SpeechRecognitionParameters) -> list[Item]:
        hearing = self.hearing
        if len(samples) > _WHOLE_SECONDS * hearing.rate:
            raise InputTooLong(
                f"audio: it is longer than {_WHOLE_SECONDS:g} seconds, the limit of this model",
                hint="send it in parts",
            )
        features = hearing.features(samples, return_attention_mask=True)
        how = self.how(parameters)
        key = (tuple(how.items()), hearing.key(features))
        return [Item((features, how), hearing.seconds(samples), key)]

    def how(self, parameters: SpeechRecognitionParameters) -> dict[str, Any]:
        """What ``generate`` is told beside the defaults."""
        asked = asked_of(parameters)
        found = {name: asked[name] for name in BEAMS if name in asked}
        steering = {name: asked[name] for name in SAMPLING if name in asked}
        if asked.get("do_sample", bool(steering)):
            found |= {"num_beams": 1, **found, **steering, "do_sample": True}
        elif steering:
            found["do_sample"] = False
        return {**found, **self._lengths(parameters)}

    def generate(self, items: list[Item], how: dict[str, Any], **more: Any) -> Any:
        """The output of ``generate`` for the features that each item's data begins with."""
        hearing = self.hearing
        batch = hearing.together([item.data[0] for item in items])
        tensors = {name: tensor.to(hearing.device) for name, tensor in batch.items()}
        main = hearing.model.main_input_name
        return hearing.model.generate(
            tensors[main],
            attention_mask=tensors.get("attention_mask"),
            stopping_criteria=StoppingCriteriaList([Abandoned(items)]),
            **{**self._defaults, **how, **more},
        )

    def run(self, items: list[Item]) -> list[Any]:
        written = self.generate(items, items[0].data[1])
        return self.rows(items, written)

    def rows(self, items: list[Item], written: Any) -> list[torch.Tensor]:
        """What ``generate`` wrote for each item, which is told how many tokens these are, special ones
        left out."""
        sequences = written if isinstance(written, torch.Tensor) else written["sequences"]
        rows = list(sequences.cpu())
        for item, row in zip(items, rows, strict=True):
            item.written = sum(token not in self._special for token in row.tolist())
        return rows

    def transcript(self, raws: list[Any], parameters: SpeechRecognitionParameters) -> Transcript:
        return Transcript(self.tokenizer.decode(raws[0], skip_special_tokens=True))
