"""Text as huggingface_hub's own client gets it, streamed too."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import ValidationError

from tests.clients.served import Served, served
from tests.models import smollm2, tiny

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tiny.gpt2(tmp_path_factory.mktemp("m") / "gpt2")
    with served(folder, "text-generation") as one:
        yield one


@pytest.fixture
def client(gpt2: Served) -> InferenceClient:
    return InferenceClient(model=gpt2.url)


def test_text(client: InferenceClient) -> None:
    text = client.text_generation(PROMPT, max_new_tokens=8)
    assert text
    assert not text.startswith(PROMPT)
    whole = client.text_generation(PROMPT, max_new_tokens=8, return_full_text=True)
    assert whole == PROMPT + text


def test_details(client: InferenceClient) -> None:
    found = client.text_generation(PROMPT, max_new_tokens=5, details=True, seed=3, top_n_tokens=2)
    assert found.details is not None
    assert found.details.finish_reason == "length"
    assert found.details.generated_tokens == len(found.details.tokens) == 5
    assert "".join(token.text for token in found.details.tokens) == found.generated_text


def test_a_stream_is_the_text_token_by_token(client: InferenceClient) -> None:
    whole = client.text_generation(PROMPT, max_new_tokens=12)
    assert "".join(client.text_generation(PROMPT, max_new_tokens=12, stream=True)) == whole
    events = list(client.text_generation(PROMPT, max_new_tokens=12, stream=True, details=True))
    assert [one.index for one in events] == list(range(1, 13))
    assert events[-1].generated_text == whole
    assert events[-1].details is not None
    assert events[-1].details.finish_reason == "length"
    assert events[-1].details.generated_tokens == 12


def test_a_stop_string_is_not_leaked_into_a_stream(client: InferenceClient) -> None:
    whole = client.text_generation(PROMPT, max_new_tokens=20)
    stop = whole[5:8]
    streamed = client.text_generation(PROMPT, max_new_tokens=20, stop=[stop], stream=True)
    assert "".join(streamed) == whole[: whole.index(stop)]


def test_what_it_cannot_do_is_refused_by_name(client: InferenceClient) -> None:
    with pytest.raises(ValidationError, match="window"):
        client.text_generation(PROMPT, max_new_tokens=1000)
    grammar: Any = {"type": "regex", "value": "a+"}
    with pytest.raises(ValidationError, match=r"not supported.*\.grammar"):
        client.text_generation(PROMPT, grammar=grammar)
    with pytest.raises(ValidationError, match=r"not supported.*\.adapter_id"):
        client.text_generation(PROMPT, adapter_id="org/lora")
    with pytest.raises(ValidationError, match=r"<= 1.*best_of"):
        client.text_generation(PROMPT, best_of=2)


def test_best_of_one_and_typical_tokens(client: InferenceClient) -> None:
    how: dict[str, Any] = {"typical_p": 0.5, "seed": 3, "max_new_tokens": 8}
    sampled = client.text_generation(PROMPT, best_of=1, **how)
    assert sampled == client.text_generation(PROMPT, **how)
    assert sampled != client.text_generation(PROMPT, max_new_tokens=8)


def test_a_client_that_leaves_a_stream_frees_its_place(gpt2: Served) -> None:
    body = json.dumps({"inputs": PROMPT, "parameters": {"max_new_tokens": 59}, "stream": True})
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", gpt2.port, timeout=30)
        connection.request("POST", "/", body, {"content-type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("content-type", "").startswith("text/event-stream")
        assert response.readline().startswith(b"data: ")
        response.close()
        connection.close()
    deadline = time.monotonic() + 10
    while gpt2.state.in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gpt2.state.in_flight == 0


def test_only_generated_text_is_streamed(gpt2: Served) -> None:
    body = {"inputs": PROMPT, "parameters": {"num_return_sequences": 2}, "stream": True}
    connection = http.client.HTTPConnection("127.0.0.1", gpt2.port, timeout=30)
    connection.request("POST", "/", json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error_type"]) == (422, "validation")
    connection.close()


def test_the_native_dialect_streams_the_same_events(gpt2: Served, client: InferenceClient) -> None:
    whole = client.text_generation(PROMPT, max_new_tokens=6)
    connection = http.client.HTTPConnection("127.0.0.1", gpt2.port, timeout=30)
    body = {"text": PROMPT, "max_new_tokens": 6, "stream": True}
    connection.request("POST", "/predict", json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    raw = response.read().decode()
    connection.close()
    events = [json.loads(line.removeprefix("data: ")) for line in raw.splitlines() if line]
    assert "".join(one["token"]["text"] for one in events) == whole
    assert events[-1]["generated_text"] == whole
    body = {"text": PROMPT, "max_new_tokens": 6, "stream": False}
    connection.request("POST", "/predict", json.dumps(body), {"content-type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    assert answer["result"][0]["generated_text"] == PROMPT + whole
    connection.close()


def test_only_what_is_accepted_is_answered(gpt2: Served) -> None:
    bare: dict[str, object] = {"inputs": PROMPT, "parameters": {"max_new_tokens": 2}}
    native: dict[str, object] = {"text": PROMPT, "max_new_tokens": 2}
    openai: dict[str, object] = {"model": "demo", "prompt": PROMPT, "max_tokens": 2}
    events, whole = "text/event-stream", "application/json"

    def told(path: str, accept: str, body: dict[str, object], *, stream: bool) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", gpt2.port, timeout=60)
        headers = {"content-type": whole, "accept": accept}
        connection.request("POST", path, json.dumps({**body, "stream": stream}), headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.headers.get_content_type()

    for path, body in (("/", bare), ("/predict", bare), ("/predict", native)):
        for form, other, stream in ((whole, events, False), (events, whole, True)):
            assert told(path, form, body, stream=stream) == (200, form)
            assert told(path, other, body, stream=stream) == (406, whole)
    assert told("/v1/completions", events, openai, stream=False) == (406, whole)
    # So OpenAI's own client asks.
    assert told("/v1/completions", whole, openai, stream=True) == (200, events)


@pytest.mark.slow
def test_a_real_models_greedy_text_is_that_of_generate(pytestconfig: pytest.Config) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = smollm2.convert(pytestconfig.cache.mkdir("smollm2-135m"))
    prompts = ["The capital of France is", "Water boils at", "Once upon a time, in a village"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt")
        written = model.generate(**ids, do_sample=False, max_new_tokens=24)
        expected.append(tokenizer.decode(written[0], skip_special_tokens=True))
    with served(folder, "text-generation", dtype="float32") as one:
        client = InferenceClient(model=one.url)

        def ask(prompt: str) -> str:
            return client.text_generation(prompt, max_new_tokens=24, return_full_text=True)

        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(ask, prompts)) == expected
