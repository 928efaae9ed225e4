"""What the servers without an engine of their own run: what their documentation shows, transformers'
pipelines and sentence-transformers."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from typing import Any

Predict = Callable[[list[str]], list[Any]]


def load() -> Predict:
    """A function from inputs (texts, or base64 of images) to as many outputs, which JSON can hold."""
    return _LOADERS[os.environ["BENCH_WORKLOAD"]](os.environ.get("BENCH_SNAPSHOT", ""))


def _where() -> dict[str, str]:
    return {"device": os.environ["BENCH_DEVICE"], "dtype": os.environ["BENCH_DTYPE"]}


def _noop(snapshot: str) -> Predict:
    return lambda texts: [{"text": text} for text in texts]


def _classification(snapshot: str) -> Predict:
    from transformers import pipeline

    classify = pipeline("text-classification", model=snapshot, **_where())
    return lambda texts: list(classify(texts, batch_size=len(texts)))


def _embeddings(snapshot: str) -> Predict:
    from sentence_transformers import SentenceTransformer

    where = _where()
    model = SentenceTransformer(
        snapshot, device=where["device"], model_kwargs={"dtype": where["dtype"]}
    )
    return lambda texts: list(model.encode(texts, show_progress_bar=False).tolist())


def _image(snapshot: str) -> Predict:
    from PIL import Image
    from transformers import pipeline

    classify = pipeline("image-classification", model=snapshot, **_where())

    def predict(images: list[str]) -> list[Any]:
        decoded = [Image.open(io.BytesIO(base64.b64decode(image))) for image in images]
        return list(classify(decoded, batch_size=len(decoded)))

    return predict


_LOADERS = {
    "noop": _noop,
    "classification": _classification,
    "embeddings": _embeddings,
    "many": _embeddings,
    "image": _image,
}
