"""One image in, what the model without a head makes of it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from safetensors import safe_open

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.vision import Image, ImageFeatureExtractionParameters
from modeldeploy.worker.adapter import Item, Source
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.image_model import ImageAdapter, key_of
from modeldeploy.worker.tasks.scores import check_numbers

_POOLER = "pooler."


class ImageFeatureExtraction(ImageAdapter[Image, ImageFeatureExtractionParameters]):
    """Checkpoints of classifiers have no pooler; their features are as good without it."""

    unused_weights: ClassVar[tuple[str, ...]] = (_POOLER,)

    def load(self, source: Source) -> None:
        super().load(source)
        wanted = any(name.startswith(_POOLER) for name, _ in self.model.named_parameters())
        self.pools = not wanted or _stores_pooler(Path(source.snapshot))

    def pre(self, inputs: Image, parameters: ImageFeatureExtractionParameters) -> list[Item]:
        if parameters.pool and not self.pools:
            raise _no_pooler()
        features = self.features(images.decode(inputs.image))
        return [Item((features, parameters.pool), key=(key_of(features), parameters.pool))]

    def forward(self, items: list[Item]) -> list[Any]:
        outputs = self.call(**self.stacked(item.data[0] for item in items))
        found = outputs.get("pooler_output") if items[0].data[1] else outputs[0]
        if found is None:
            raise _no_pooler()
        return list(found.float().cpu().numpy())

    def post(
        self, raws: list[Any], inputs: Image, parameters: ImageFeatureExtractionParameters
    ) -> list[Any]:
        check_numbers(raws[0])
        features: list[Any] = raws[0].tolist()
        return features


def _stores_pooler(folder: Path) -> bool:
    """Whether a weights file has some of a pooler: else the model's is made up."""
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            if any(f".{_POOLER}" in f".{name}" for name in weights.keys()):  # noqa: SIM118  # no dict
                return True
    return False


def _no_pooler() -> InvalidRequest:
    return InvalidRequest("pool: this model has no pooler", hint='leave it out, or "pool": false')
