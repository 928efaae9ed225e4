"""One sound and labels of the caller's own in, the labels with scores out (CLAP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modeldeploy.errors import InputTooLong, WrongTask
from modeldeploy.schema.tasks.audio import Audio, ZeroShotAudioParameters
from modeldeploy.schema.tasks.text import Label
from modeldeploy.worker.adapter import BatchLimits, Item, Source
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.tasks.audio import Samples
from modeldeploy.worker.tasks.hearing import Features, Hearing
from modeldeploy.worker.tasks.scores import labels
from modeldeploy.worker.tasks.tokens import Encoded, Tokens


@dataclass
class Question:
    """A sound's features, and each label in its sentence."""

    features: Features
    sentences: list[Encoded]


class ZeroShotAudioClassification(Hearing[Audio, ZeroShotAudioParameters]):
    batch = BatchLimits(items=8, size=120, unit="seconds of sound")

    def load(self, source: Source) -> None:
        super().load(source)
        if "input_features" not in self.accepted or not hasattr(self.model, "get_text_features"):
            raise WrongTask(
                f"a {self.config.model_type} model does not compare sounds with texts",
                hint="choose a model made for the task, such as a CLAP",
            )

    def prepare(self, source: Source) -> None:
        super().prepare(source)
        self.tokens = Tokens(checkpoint.load_tokenizer(source), self.config.text_config)

    def pre(self, inputs: Audio, parameters: ZeroShotAudioParameters) -> list[Item]:
        sentences = self._sentences(parameters)
        samples = self._cut(self.samples(inputs.audio))
        features = self.features(samples)
        asked = (*parameters.candidate_labels, parameters.hypothesis_template)
        key = (self.key(features), asked)
        return [Item(Question(features, sentences), self.seconds(samples), key)]

    def _cut(self, samples: Samples) -> Samples:
        """The extractor would take a random part of a longer sound; the first is the same each
        time. A model with fusion hears all of it."""
        if self.extractor.truncation != "rand_trunc":
            return samples
        return samples[: self.extractor.nb_max_samples]

    def _sentences(self, parameters: ZeroShotAudioParameters) -> list[Encoded]:
        try:
            return [
                self.tokens.fitted(
                    parameters.hypothesis_template.replace("{}", label), truncate=False
                )
                for label in parameters.candidate_labels
            ]
        except InputTooLong as error:
            raise InputTooLong(
                f"candidate_labels: {error.message}", hint="shorten the label"
            ) from error

    def forward(self, items: list[Item]) -> list[Any]:
        texts = self.tokens.pad(items[0].data.sentences)
        sounds = self.together([item.data.features for item in items])
        scores = self.call(**texts, **sounds).logits_per_audio
        return list(scores.float().cpu().numpy())

    def post(
        self, raws: list[Any], inputs: Audio, parameters: ZeroShotAudioParameters
    ) -> list[Label]:
        names = dict(enumerate(parameters.candidate_labels))
        return labels(raws[0], "softmax", names, len(names))
