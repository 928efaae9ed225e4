"""Each task's own requests, through a real worker on a tiny model."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models import tiny
from tests.models.common import encoded
from tests.worker.live import LiveWorker, live_worker
from tests.worker.tasks.test_image_classification import picture, vit


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorker]:
    folder = tmp_path_factory.mktemp("images")
    with live_worker(folder, "image-classification", vit(folder / "vit")) as worker:
        worker.until("ready")
        yield worker


def test_an_image_by_bytes_and_by_base64(images: LiveWorker) -> None:
    raw = encoded(picture())
    by_text = images.predict(image=base64.b64encode(raw).decode())
    assert by_text.status == 200
    assert len(by_text.body["result"]) == 3
    for kind in ("image/png", "image/jpeg", "application/octet-stream"):
        by_bytes = images.ask("POST", "/predict", raw, content_type=kind)
        assert by_bytes.body["result"] == by_text.body["result"]
    many = images.predict(images=[base64.b64encode(raw).decode()] * 3, top_k=1)
    assert [len(one) for one in many.body["result"]] == [1, 1, 1]


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"", "image/png", "invalid_request"),
        (b"no image", "image/png", "invalid_request"),
        (b'{"image": "http://localhost/x.png"}', "application/json", "media_url_not_allowed"),
        (b'{"image": "/etc/passwd"}', "application/json", "media_url_not_allowed"),
        (b'{"image": ""}', "application/json", "invalid_request"),
        (b'{"images": ["aGk=", 1]}', "application/json", "invalid_request"),
        (encoded(picture("1", (10_000, 6_000))), "image/png", "input_too_long"),
    ],
)
def test_what_is_no_image_is_422(images: LiveWorker, body: bytes, kind: str, code: str) -> None:
    answer = images.ask("POST", "/predict", body, content_type=kind)
    assert (answer.status, answer.code) == (422, code)


def test_the_openapi_document_knows_raw_bodies(images: LiveWorker) -> None:
    operation = images.ask("GET", "/openapi.json").body["paths"]["/predict"]["post"]
    assert {"application/json", "image/*"} <= set(operation["requestBody"]["content"])


def test_text_generation(tmp_path: Path) -> None:
    with live_worker(tmp_path, "text-generation", tiny.gpt2(tmp_path / "gpt2")) as worker:
        worker.until("ready")
        plain = worker.predict(text="Once upon a time", max_length=20)
        assert plain.status == 200
        assert plain.body["result"][0]["generated_text"].startswith("Once upon a time")
        several = worker.predict(texts=["a", "b"], num_return_sequences=2, max_new_tokens=3)
        assert [len(one) for one in several.body["result"]] == [2, 2]
        for wrong in ({"max_new_tokens": 0}, {"temperature": -1}, {"top_p": 2}, {"stop": ""}):
            assert worker.predict(text="a", **wrong).status == 422
        assert worker.predict(text="a", max_length=65).code == "input_too_long"


def test_question_answering(tmp_path: Path) -> None:
    snapshot = tiny.question_answering(tmp_path / "qa")
    with live_worker(tmp_path, "question-answering", snapshot) as worker:
        worker.until("ready")
        context = "Ada moved from Paris to London."
        one = worker.predict(question="Where?", context=context).body["result"]
        assert one["answer"] == context[one["start"] : one["end"]]
        several = worker.predict(question="Where?", context=context, top_k=2).body["result"]
        assert len(several) == 2
        assert worker.predict(question="", context=context).status == 422
        assert worker.predict(context=context).status == 422
