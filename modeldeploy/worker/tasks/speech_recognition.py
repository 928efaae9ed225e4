"""Speech in, its text out: by models that label each moment, and by models that write."""

from __future__ import annotations

from typing import Any

from transformers import (
    MODEL_FOR_CTC_MAPPING,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
)

from modeldeploy.errors import UnsupportedModel
from modeldeploy.schema.tasks.audio import Audio, SpeechRecognitionParameters, Transcript
from modeldeploy.worker.adapter import BatchLimits, Item, Source
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.tasks.audio import MAX_SECONDS
from modeldeploy.worker.tasks.hearing import Hearing
from modeldeploy.worker.tasks.speech_ctc import Ctc
from modeldeploy.worker.tasks.speech_listening import Listener
from modeldeploy.worker.tasks.speech_whisper import Whisper
from modeldeploy.worker.tasks.speech_writing import Writing


class SpeechRecognition(Hearing[Audio, SpeechRecognitionParameters]):
    """What differs from kind to kind of model is its recogniser's."""

    generates = True
    longest = MAX_SECONDS
    batch = BatchLimits(items=8, size=240, unit="seconds of sound")
    _listener: Listener | None = None

    def auto_class(self, source: Source) -> str:
        is_ctc = any(
            str(name).endswith("ForCTC")
            for name in getattr(self.config, "architectures", None) or []
        )
        writes = type(self.config) in MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING
        return source.task.auto_class if writes and not is_ctc else "AutoModelForCTC"

    def prepare(self, source: Source) -> None:
        super().prepare(source)
        self.recogniser = self._kind()(self, checkpoint.load_tokenizer(source))
        self.exports = isinstance(self.recogniser, Whisper)

    def _kind(self) -> type[Ctc | Writing]:
        if self.config.model_type == "whisper":
            return Whisper
        if type(self.config) in MODEL_FOR_CTC_MAPPING and not self.model.can_generate():
            return Ctc
        if self.model.main_input_name not in {"input_features", "input_values"}:
            raise UnsupportedModel(
                f"a {self.config.model_type} model is asked for its transcript in a chat, "
                "which is not served"
            )
        return Writing

    def arrange(self, *, optimize: bool, layout: str = "") -> None:
        self._listener = None
        if isinstance(self.recogniser, Whisper):
            vars(self.graphed).pop("forward", None)
            if optimize:
                self._listener = self.graphed.forward = Listener(self.graphed)

    @property
    def graphed(self) -> Any:
        """Of what writes the encoder, most of the work: its steps are small."""
        return self.model.get_encoder() if self.exports else self.model

    @property
    def holder(self) -> Any:
        return self._listener or self.graphed

    def pre(self, inputs: Audio, parameters: SpeechRecognitionParameters) -> list[Item]:
        self.recogniser.check(parameters)
        return self.recogniser.items(self.samples(inputs.audio), parameters)

    def forward(self, items: list[Item]) -> list[Any]:
        try:
            return self.recogniser.run(items)
        finally:
            if self._listener:
                self._listener.forget()

    def post(
        self, raws: list[Any], inputs: Audio, parameters: SpeechRecognitionParameters
    ) -> Transcript:
        return self.recogniser.transcript(raws, parameters)
