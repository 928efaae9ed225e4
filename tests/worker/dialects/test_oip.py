"""The Open Inference Protocol over real sockets, on the task that needs no model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from modeldeploy.schema.worker import Limits
from tests.worker.live import Answer, LiveWorker, live_worker

INFER = "/v2/models/demo/infer"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorker]:
    folder = tmp_path_factory.mktemp("small")
    limits = Limits(max_texts=3, max_body_bytes=10_000)
    with live_worker(folder, "echo", folder, limits=limits) as worker:
        worker.until("ready")
        yield worker


def tensor(*data: Any, **changes: Any) -> dict[str, Any]:
    return {
        "name": "text",
        "shape": [len(data)],
        "datatype": "BYTES",
        "data": list(data),
        **changes,
    }


def binary(head: dict[str, Any], tail: bytes, length: int | None = None) -> tuple[bytes, str]:
    encoded = json.dumps(head).encode()
    return encoded + tail, str(len(encoded) if length is None else length)


def ask_binary(worker: LiveWorker, head: dict[str, Any], tail: bytes, **more: Any) -> Answer:
    body, length = binary(head, tail, **more)
    return worker.ask(
        "POST",
        INFER,
        body,
        inference_header_content_length=length,
        content_type="application/octet-stream",
    )


def packed(*values: bytes) -> bytes:
    return b"".join(len(one).to_bytes(4, "little") + one for one in values)


@pytest.mark.parametrize("name", ["demo", "org/demo"])
@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_one_model_under_two_names_and_its_version(
    small: LiveWorker, name: str, version: str
) -> None:
    model = f"/v2/models/{name}{version}"
    metadata = small.ask("GET", model)
    assert metadata.body == {
        "name": name,
        "versions": ["1"],
        "platform": "transformers",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "result", "datatype": "BYTES", "shape": [-1]}],
    }
    ready = small.ask("GET", f"{model}/ready")
    assert (ready.status, ready.body) == (200, {"name": name, "ready": True})
    answer = small.ask("POST", f"{model}/infer", {"id": "7", "inputs": [tensor("a", "b")]})
    assert answer.status == 200, answer
    assert answer.body == {
        "model_name": name,
        "model_version": "1",
        "id": "7",
        "outputs": [
            {
                "name": "result",
                "datatype": "BYTES",
                "shape": [2],
                "data": ['[{"text":"a"}]', '[{"text":"b"}]'],
            }
        ],
    }
    assert float(answer.headers["x-inference-time-ms"]) > 0
    wrong = small.ask("GET", f"{model}/infer")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/other/ready", "/v2/models/demo/versions/2", "/v2/x"]
)
def test_another_model_or_version_is_not_here(small: LiveWorker, path: str) -> None:
    answer = small.ask("GET", path)
    assert answer.status == 404
    assert set(answer.body) == {"error"}


def test_the_server_tells_of_itself(small: LiveWorker) -> None:
    assert small.ask("GET", "/v2").body["extensions"] == ["binary_tensor_data"]
    assert small.ask("GET", "/v2/health/live").body == {"live": True}
    assert small.ask("GET", "/v2/health/ready").body == {"ready": True}


def test_a_column_is_flattened_and_parameters_reach_the_task(small: LiveWorker) -> None:
    column = tensor(["a"], ["b"], shape=[2, 1])
    answer = small.ask("POST", INFER, {"inputs": [column], "parameters": {"delay": 0.01}})
    assert answer.body["outputs"][0]["shape"] == [2]
    failed = small.ask("POST", INFER, {"inputs": [tensor("a")], "parameters": {"fail": True}})
    assert failed.status == 500
    assert "asked to fail" in failed.body["error"]


def test_bytes_in_and_bytes_out(small: LiveWorker) -> None:
    size = {"binary_data_size": len(packed(b"h\xc3\xa9", b""))}
    one = {"name": "text", "shape": [2], "datatype": "BYTES", "parameters": size}
    head = {"inputs": [one], "parameters": {"binary_data_output": True}}
    answer = ask_binary(small, head, packed(b"h\xc3\xa9", b""))
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/octet-stream"
    raw = answer.body.encode()
    length = int(answer.headers["inference-header-content-length"])
    told = json.loads(raw[:length])["outputs"][0]
    assert "data" not in told
    assert told["parameters"] == {"binary_data_size": len(raw) - length}
    assert raw[length:] == packed('[{"text":"hé"}]'.encode(), b'[{"text":""}]')


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "JSON"),
        ({}, 422, "`inputs`"),
        ({"inputs": []}, 422, "$.inputs"),
        ({"inputs": [tensor("a", datatype="FP32")]}, 422, "datatype"),
        ({"inputs": [tensor("a", name="words")]}, 422, "'words' is unknown"),
        ({"inputs": [tensor("a"), tensor("a")]}, 422, "twice"),
        ({"inputs": [tensor(1)]}, 422, "$.inputs[0].data[0]"),
        ({"inputs": [tensor("a", shape=[2])]}, 422, "1 elements"),
        ({"inputs": [tensor("a", "b", shape=[1, 2])]}, 422, "[2, 1]"),
        ({"inputs": [tensor("a", shape=[-1])]}, 422, "$.inputs[0].shape[0]"),
        ({"inputs": [tensor("a", data=None)]}, 422, "either data or binary_data_size"),
        ({"inputs": [tensor("a", zork=1)]}, 422, "zork"),
        ({"inputs": [tensor("a", parameters={"shared_memory_region": "x"})]}, 422, "shared_memory"),
        ({"inputs": [tensor("a", parameters={"binary_data_size": 1})]}, 422, "either data or"),
        ({"inputs": [tensor(*"abcd")]}, 422, "limit is 3"),
        ({"inputs": [tensor("a")], "parameters": {"delay": -1}}, 422, "$.parameters.delay"),
        ({"inputs": [tensor("a")], "parameters": {"sequence_id": 1}}, 422, "sequence_id"),
        ({"inputs": [tensor("a")], "outputs": [{"name": "x"}]}, 422, "no output 'x'"),
        ({"inputs": [tensor("a")], "zork": 1}, 422, "zork"),
    ],
)
def test_what_is_wrong_is_named(small: LiveWorker, body: Any, status: int, says: str) -> None:
    answer = small.ask("POST", INFER, body)
    assert answer.status == status, answer
    assert set(answer.body) == {"error"}
    assert says in answer.body["error"]


@pytest.mark.parametrize(
    ("size", "tail", "length", "says"),
    [
        (5, packed(b"a") + b"x", None, "take 5"),
        (6, packed(b"a"), None, "its 6 bytes"),
        (5, b"\xff\xff\xff\xffa", None, "its 5 bytes"),
        (3, b"\x00\x00\x00", None, "its 3 bytes"),
        (5, packed(b"\xff"), None, "text[0] is not UTF-8"),
        (5, packed(b"a"), 10**6, "inference-header-content-length"),
        (5, packed(b"a"), 10**4000, "inference-header-content-length"),
        (5, packed(b"a"), 3, "JSON"),
        (0, b"", None, "0 elements"),
    ],
)
def test_bytes_that_do_not_fit(
    small: LiveWorker, size: int, tail: bytes, length: int | None, says: str
) -> None:
    one = {
        "name": "text",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": size},
    }
    answer = ask_binary(small, {"inputs": [one]}, tail, length=length)
    assert answer.status in {400, 422}, answer
    assert says in answer.body["error"]


def test_limits_hold_here_too(small: LiveWorker) -> None:
    assert small.ask("POST", INFER, b"x" * 10_001).status == 413
    refused = small.ask("POST", INFER, {"inputs": [tensor("a")]}, content_type="text/plain")
    assert refused.status == 415
    packed_body = small.ask("POST", INFER, {"inputs": [tensor("a")]}, content_encoding="gzip")
    assert packed_body.status == 415
    assert "gzip" in packed_body.body["error"]
