"""One image in, a text about it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modeldeploy.schema.tasks.generation import GeneratedText
from modeldeploy.schema.tasks.multimodal import ImageToTextParameters
from modeldeploy.schema.tasks.vision import Image
from modeldeploy.worker.adapter import BatchLimits, Item, Source
from modeldeploy.worker.loading import checkpoint, processors
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.features import Features, joined, processed, shapes
from modeldeploy.worker.tasks.generating import Generator
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.planning import Plan, Planner


@dataclass
class Caption:
    features: Features
    plan: Plan


class ImageToText(ModelAdapter[Image, ImageToTextParameters]):
    quick_pre = False
    generates = True
    batch = BatchLimits(items=8, size=8192, unit="tokens")

    def prepare(self, source: Source) -> None:
        self.processor = processors.load_image_processor(source)
        self.planner = Planner(self.model)
        tokenizer = checkpoint.load_tokenizer(source)
        self.generator = Generator(self.model, tokenizer, self.planner.ends)

    def pre(self, inputs: Image, parameters: ImageToTextParameters) -> list[Item]:
        plan = self.planner.plan(parameters, parameters.generation_parameters)
        image = images.decode(inputs.image).convert("RGB")
        features = processed(lambda: self.processor(image, return_tensors="pt"))
        cost = plan.get("max_new_tokens") * plan.width
        return [Item(Caption(features, plan), cost, (plan.key, shapes(features)))]

    def forward(self, items: list[Item]) -> list[Any]:
        captions: list[Caption] = [item.data for item in items]
        plans = [one.plan for one in captions]
        tensors = joined([one.features for one in captions], self.model.dtype, 0)
        written = self.generator.write(items, plans, tensors)
        return [
            self.generator.answer(one, plan).strip()
            for one, plan in zip(written, plans, strict=True)
        ]

    def post(
        self, raws: list[Any], inputs: Image, parameters: ImageToTextParameters
    ) -> GeneratedText:
        return GeneratedText(raws[0])
