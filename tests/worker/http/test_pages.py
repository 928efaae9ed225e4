"""The pages beside the predictions: Swagger UI and the figures for Prometheus."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from safetensors.torch import load_file, save_file

from modeldeploy.schema.worker import Limits
from tests.models import multimodal, seq2seq, sounds, tiny, vision
from tests.worker.live import LiveWorker, live_worker


def test_swagger_ui_comes_whole_from_this_machine(echo: LiveWorker) -> None:
    page = echo.ask("GET", "/docs")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.body)
    assert len(links) == 4
    for link in links:
        if link.endswith(".png"):
            continue
        asset = echo.ask("GET", f"/{link}")
        assert asset.status == 200, link
        assert asset.headers["content-type"].split(";")[0] in {"text/css", "text/javascript"}
    assert "openapi.json" in echo.ask("GET", "/docs/start.js").body
    for path in ("/docs/", "/docs/index.html", "/docs/../openapi.json", "/docs/%2e%2e/core.py"):
        assert echo.ask("GET", path).status == 404, path


def _figures(worker: LiveWorker) -> dict[str, float]:
    """Each sample by its name, and by its status, code or kind where it has one."""
    page = worker.ask("GET", "/metrics")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = [
        one for family in text_string_to_metric_families(page.body) for one in family.samples
    ]
    assert {one.labels.get("deployment") for one in samples} <= {"demo", None}
    return {
        "".join(
            [one.name, *(one.labels.get(by, "") for by in ("status", "code", "kind"))]
        ): one.value
        for one in samples
        if "le" not in one.labels
    }


def test_the_figures_count_what_happened(tmp_path: Path) -> None:
    with live_worker(tmp_path, "echo", tmp_path, limits=Limits(max_queue=3)) as worker:
        worker.until("ready")
        assert worker.predict(texts=["a", "b", "c"]).status == 200
        assert worker.predict(text="d", delay=0.2).status == 200
        assert worker.predict(text=1).status == 422
        seen = _figures(worker)
    assert seen["modeldeploy_requests_total200"] == 2
    assert seen["modeldeploy_requests_total422"] == 1
    assert seen["modeldeploy_errors_totalinvalid_request"] == 1
    assert seen["modeldeploy_request_seconds_count"] == 3
    assert seen["modeldeploy_validation_seconds_count"] == 3
    assert seen["modeldeploy_load_seconds"] > 0
    assert seen["modeldeploy_inference_seconds_count"] == 2
    assert seen["modeldeploy_inference_seconds_sum"] >= 0.2
    assert seen["modeldeploy_queue_seconds_count"] == 2
    assert seen["modeldeploy_batch_items_sum"] == 4
    assert seen["modeldeploy_in_flight"] == 0
    assert seen["modeldeploy_queue_depth"] == 0
    assert seen["modeldeploy_ready"] == 1
    assert seen["process_resident_memory_bytes"] > 1_000_000


def test_the_figures_count_the_tokens_of_texts_that_are_written(tmp_path: Path) -> None:
    folder = tiny.gpt2(tmp_path / "m")
    with live_worker(tmp_path, "text-generation", folder) as worker:
        worker.until("ready")
        asked = {"text": "Once upon a time", "max_new_tokens": 8}
        before = _figures(worker)
        assert worker.predict(**asked).status == 200
        whole = _figures(worker)
        streamed = worker.predict(**asked, stream=True)
        assert streamed.status == 200
        seen = _figures(worker)
    pieces = streamed.body.count("data:")
    for kind in ("input", "output"):
        name = f"modeldeploy_tokens_total{kind}"
        assert seen[name] - whole[name] == whole[name] - before[name] > 0
    assert (
        seen["modeldeploy_tokens_totaloutput"] - whole["modeldeploy_tokens_totaloutput"] == pieces
    )
    assert seen["modeldeploy_time_to_first_token_seconds_count"] == 1
    assert seen["modeldeploy_inter_token_seconds_count"] == pieces - 1


def test_an_error_inside_a_stream_is_counted_by_its_code(tmp_path: Path) -> None:
    folder = tiny.gpt2(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    (positions,) = (name for name in weights if name.endswith("wpe.weight"))
    weights[positions][-8:] = float("nan")  # it fails once it has written so far
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with live_worker(tmp_path, "text-generation", folder) as worker:
        worker.until("ready")
        before = _figures(worker)
        asked = {"text": "a" * 40, "max_new_tokens": 20}
        streamed = worker.predict(**asked, stream=True)
        seen = _figures(worker)
    assert streamed.status == 200
    last = json.loads(streamed.body.strip().rpartition("data:")[2])
    code = last["error"]["code"]
    assert streamed.body.count("data:") > 1
    assert before.get(f"modeldeploy_errors_total{code}", 0) == 0
    assert seen[f"modeldeploy_errors_total{code}"] == 1


def _wrote(folder: Path, task: str, snapshot: Path, **body: Any) -> tuple[int, int]:
    """How many tokens were read and written for a request, by the figures."""
    with live_worker(folder, task, snapshot) as worker:
        worker.until("ready")
        before = _figures(worker)
        answer = worker.predict(**body)
        assert answer.status == 200, answer.body
        seen = _figures(worker)
    read, wrote = (
        int(seen[name] - before[name])
        for name in ("modeldeploy_tokens_totalinput", "modeldeploy_tokens_totaloutput")
    )
    return read, wrote


def test_the_figures_count_the_tokens_of_captions_answers_and_transcripts(tmp_path: Path) -> None:
    image = vision.in_base64(vision.picture())
    sound = base64.b64encode(sounds.encoded(sounds.noise(1.0))).decode()
    models: dict[str, tuple[Path, dict[str, Any]]] = {
        "image-to-text": (multimodal.encoder_decoder(tmp_path / "a"), {"image": image}),
        "visual-question-answering": (
            multimodal.blip_questions(tmp_path / "b"),
            {"image": image, "question": "what is it?"},
        ),
        "automatic-speech-recognition": (sounds.whisper(tmp_path / "c"), {"audio": sound}),
        "summarization": (seq2seq.t5(tmp_path / "d"), {"text": "one two three"}),
    }
    reading = {"visual-question-answering", "summarization"}
    for number, (task, (snapshot, body)) in enumerate(models.items()):
        home = tmp_path / str(number)  # with short names: a socket's path has 107 bytes at most
        home.mkdir()
        read, wrote = _wrote(home, task, snapshot, **body)
        assert (read > 0) == (task in reading), task
        assert wrote > 0, task
