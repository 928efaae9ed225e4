"""The pages beside the predictions: Swagger UI and the figures for Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from modeldeploy.schema.worker import Limits
from tests.models import tiny
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
