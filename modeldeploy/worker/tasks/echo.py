"""The task that needs no model and no torch: it answers what it was given."""

from __future__ import annotations

import time
from typing import Any

from modeldeploy.schema.tasks.echo import Echoed, EchoParameters
from modeldeploy.schema.tasks.text import Text
from modeldeploy.worker.adapter import Adapter, Item, ModelInfo, Source

_SLICE_SECONDS = 0.01


class Echo(Adapter[Text, EchoParameters]):
    def load(self, source: Source) -> None:
        source.progress(1, 1)

    def prepare(self, source: Source) -> None:
        pass

    def pre(self, inputs: Text, parameters: EchoParameters) -> list[Item]:
        return [Item((inputs.text, parameters.fail), len(inputs.text), parameters.delay)]

    def core(self, items: list[Item]) -> list[Any]:
        delay: Any = items[0].key
        deadline = time.monotonic() + delay
        while not all(item.dropped for item in items):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, _SLICE_SECONDS))
        if any(fail for _, fail in (item.data for item in items)):
            raise RuntimeError("it was asked to fail")
        return [text for text, _ in (item.data for item in items)]

    def post(self, raws: list[Any], inputs: Text, parameters: EchoParameters) -> list[Echoed]:
        return [Echoed(raw) for raw in raws]

    def info(self) -> ModelInfo:
        return ModelInfo()
