"""One image and labels in words in, a score for each label out."""

from __future__ import annotations

from typing import Any

from modeldeploy.schema.tasks.text import Label
from modeldeploy.schema.tasks.vision import Image, ZeroShotImageClassificationParameters
from modeldeploy.worker.adapter import Item, Source
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.candidate_labels import encode_labels, text_tensors
from modeldeploy.worker.tasks.image_model import ImageAdapter, key_of
from modeldeploy.worker.tasks.scores import labels
from modeldeploy.worker.tasks.tokens import Tokens

# SigLIP was trained on texts cut and padded to this many tokens, and knows no others.
_SIGLIP_TOKENS = 64


class ZeroShotImageClassification(ImageAdapter[Image, ZeroShotImageClassificationParameters]):
    """Requests with the same labels share a call, in which these are encoded once."""

    def prepare(self, source: Source) -> None:
        super().prepare(source)
        self.tokens = Tokens(checkpoint.load_tokenizer(source), self.config)
        self.siglip = "siglip" in self.config.model_type
        if self.siglip:
            self.tokens.window = _SIGLIP_TOKENS

    def max_input_length(self) -> int | None:
        return self.tokens.window

    def pre(self, inputs: Image, parameters: ZeroShotImageClassificationParameters) -> list[Item]:
        texts = tuple(
            parameters.hypothesis_template.replace("{}", label)
            for label in parameters.candidate_labels
        )
        encoded = encode_labels(self.tokens, texts, truncate=self.siglip)
        features = self.features(images.decode(inputs.image))
        return [Item((features, encoded), key=(key_of(features), texts))]

    def forward(self, items: list[Item]) -> list[Any]:
        texts = text_tensors(self.tokens, items[0].data[1], _SIGLIP_TOKENS if self.siglip else None)
        outputs = self.call(**self.stacked(item.data[0] for item in items), **texts)
        return list(outputs.logits_per_image.float().cpu().numpy())

    def post(
        self, raws: list[Any], inputs: Image, parameters: ZeroShotImageClassificationParameters
    ) -> list[Label]:
        names = dict(enumerate(parameters.candidate_labels))
        return labels(raws[0], "sigmoid" if self.siglip else "softmax", names, len(names))
