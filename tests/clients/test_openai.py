"""openai's own client, unmodified."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from huggingface_hub import InferenceClient
from openai.types.chat import ChatCompletionMessageParam
from openai.types.completion_choice import Logprobs

from modeldeploy import builtin
from tests.clients.served import Served, served
from tests.models import smollm2, sounds, tiny

TURNS: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You are terse."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Where does "}, {"type": "text", "text": "Ada live?"}],
    },
]


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tiny.chat(tmp_path_factory.mktemp("m") / "chat"), "text-generation") as one:
        yield one


@pytest.fixture
def client(chatty: Served) -> Iterator[openai.OpenAI]:
    with _client(chatty) as one:
        yield one


def _client(one: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0)


def test_models(client: openai.OpenAI) -> None:
    assert [one.id for one in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").owned_by == "org"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_chat(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model="demo", messages=TURNS, max_tokens=7, temperature=0
    )
    (choice,) = found.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason == "length"
    assert choice.logprobs is None
    assert found.usage is not None
    assert found.usage.completion_tokens == 7
    assert found.usage.total_tokens == found.usage.prompt_tokens + 7
    assert found.object == "chat.completion"


def test_chat_streams_what_it_answers_whole(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model="demo", messages=TURNS, max_completion_tokens=20, seed=5, temperature=1.5
    )
    chunks = list(
        client.chat.completions.create(
            model="demo",
            messages=TURNS,
            max_completion_tokens=20,
            seed=5,
            temperature=1.5,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_chat_with_several_choices_a_stop_and_logprobs(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model="demo", messages=TURNS, n=3, max_tokens=8, seed=1, logprobs=True, top_logprobs=2
    )
    assert [choice.index for choice in found.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in found.choices}) == 3
    for choice in found.choices:
        assert choice.logprobs is not None
        tokens = choice.logprobs.content
        assert tokens is not None
        spelled = b"".join(bytes(token.bytes or ()) for token in tokens)
        assert spelled.decode(errors="replace") == choice.message.content
        assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in tokens)
    assert found.usage is not None
    assert found.usage.completion_tokens == 24
    text = found.choices[0].message.content or ""
    stopped = client.chat.completions.create(
        model="demo", messages=TURNS, n=3, max_tokens=8, seed=1, stop=[text[2:4]]
    )
    assert stopped.choices[0].message.content == text[: text.index(text[2:4])]
    assert stopped.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stop", [None, "{held}never"])
def test_a_chosen_token_is_found_among_its_alternatives(
    client: openai.OpenAI, stop: str | None
) -> None:
    asked: dict[str, Any] = {"model": "demo", "messages": TURNS, "max_tokens": 40}
    asked |= {"temperature": 1.0, "seed": 2}
    text = client.chat.completions.create(**asked).choices[0].message.content or ""
    if stop:  # what may begin one of them is held back until the next token comes
        asked["stop"] = [stop.format(held=one) for one in text[:16]]
    found = client.chat.completions.create(**asked, logprobs=True, top_logprobs=20).choices[0]
    assert found.message.content == text
    assert found.logprobs is not None
    assert found.logprobs.content is not None
    among = []
    for one in found.logprobs.content:
        assert one.bytes
        if one.logprob >= one.top_logprobs[-1].logprob:
            among.append(one.token)
            alternatives = [(top.token, top.bytes, top.logprob) for top in one.top_logprobs]
            assert (one.token, one.bytes, one.logprob) in alternatives
    assert any(token.startswith("bytes:\\x") for token in among)
    spelled = b"".join(bytes(one.bytes or ()) for one in found.logprobs.content)
    assert spelled.decode(errors="replace") == text
    streamed = [
        one
        for chunk in client.chat.completions.create(
            **asked, logprobs=True, top_logprobs=20, stream=True
        )
        if chunk.choices[0].logprobs
        for one in chunk.choices[0].logprobs.content or []
    ]
    assert streamed == found.logprobs.content


def test_a_stream_of_several_choices(client: openai.OpenAI) -> None:
    texts = {0: "", 1: ""}
    for chunk in client.chat.completions.create(
        model="demo", messages=TURNS, n=2, max_tokens=6, seed=2, stream=True
    ):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    whole = client.chat.completions.create(model="demo", messages=TURNS, n=2, max_tokens=6, seed=2)
    assert [texts[0], texts[1]] == [choice.message.content for choice in whole.choices]


def test_completions(client: openai.OpenAI) -> None:
    found = client.completions.create(model="demo", prompt=["Once upon", "I"], max_tokens=5)
    assert [choice.index for choice in found.choices] == [0, 1]
    echoed = client.completions.create(model="demo", prompt="Once upon", max_tokens=5, echo=True)
    assert echoed.choices[0].text == "Once upon" + found.choices[0].text
    chunks = client.completions.create(model="demo", prompt="Once upon", max_tokens=5, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == found.choices[0].text
    with_logprobs = client.completions.create(
        model="demo", prompt="Once upon", max_tokens=5, logprobs=2
    )
    logprobs = with_logprobs.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert len(logprobs.tokens) == 5


def test_completions_have_as_many_alternatives_as_asked_and_true_offsets(
    client: openai.OpenAI,
) -> None:
    asked: dict[str, Any] = {
        "model": "demo",
        "prompt": "Once upon",
        "max_tokens": 40,
        "logprobs": 5,
        "seed": 3,
    }
    asked |= {"temperature": 1.0, "n": 2}
    whole = client.completions.create(**asked)
    echoed = client.completions.create(**asked, echo=True)
    told: dict[int, list[Logprobs]] = {0: [], 1: []}
    for chunk in client.completions.create(**asked, stream=True):
        assert chunk.choices[0].logprobs is not None
        told[chunk.choices[0].index].append(chunk.choices[0].logprobs)
    for choice, again in zip(whole.choices, echoed.choices, strict=True):
        found = choice.logprobs
        assert found is not None
        assert [len(one) for one in found.top_logprobs or []] == [5] * 40
        _check_offsets(found, choice.text)
        assert again.logprobs is not None
        _check_offsets(again.logprobs, again.text)
        assert (again.logprobs.text_offset or [])[0] == len("Once upon")
        streamed = told[choice.index]
        assert [place for one in streamed for place in one.text_offset or []] == found.text_offset
        assert [token for one in streamed for token in one.tokens or []] == found.tokens


def _check_offsets(found: Logprobs, text: str) -> None:
    pairs = list(zip(found.tokens or [], found.text_offset or [], strict=True))
    assert len({at for _, at in pairs}) > 10
    for token, at in pairs:
        assert token.startswith("bytes:") or text[at:].startswith(token)


def test_choices_without_sampling_are_one_text_told_n_times(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "demo", "messages": TURNS, "max_tokens": 6, "temperature": 0}
    one = client.chat.completions.create(**asked)
    found = client.chat.completions.create(**asked, n=3)
    assert [choice.index for choice in found.choices] == [0, 1, 2]
    assert {choice.message.content for choice in found.choices} == {one.choices[0].message.content}
    assert found.usage is not None
    assert found.usage.completion_tokens == 18
    texts = {0: "", 1: "", 2: ""}
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    for chunk in client.chat.completions.create(**asked, **options, n=3):
        if chunk.usage:
            assert chunk.usage == found.usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert set(texts.values()) == {one.choices[0].message.content}


CHAT, RESPONSES = "/chat/completions", "/responses"
IMAGE = {"url": "data:,"}


def _said(**part: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "a", "name": "Ada"}]}, "messages[0].name"),
        (CHAT, _said(type="text", text="a", image_url=IMAGE), "messages[0].content[0].image_url"),
        (CHAT, _said(type="image_url", image_url={**IMAGE, "detail": "low"}), "detail"),
        (CHAT, _said(type="image_url", image_url={**IMAGE, "zork": 1}), "image_url.zork"),
        (CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
        (CHAT, {"stream_options": {"zork": True}, "stream": True}, "stream_options.zork"),
        (CHAT, {"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        (CHAT, {"max_tokens": 100_000}, "max_tokens"),
        (CHAT, {"max_completion_tokens": 100_000}, "max_completion_tokens"),
        (CHAT, {"messages": [{"role": "user", "content": "a " * 300}]}, "messages"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content"),
        (CHAT, {"top_logprobs": 2}, "top_logprobs"),
        ("/completions", {"prompt": "a", "max_tokens": 100_000}, "max_tokens"),
        ("/completions", {"prompt": ["a", "b"], "max_tokens": 100_000}, "max_tokens"),
        ("/completions", {"prompt": ["a", "a " * 300]}, "prompt[1]"),
        (RESPONSES, {"input": []}, "input"),
        (RESPONSES, {"input": "a " * 300}, "input"),
        (RESPONSES, {"input": "a", "max_output_tokens": 100_000}, "max_output_tokens"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_is_told_by_openais_name(
    client: openai.OpenAI, path: str, body: dict[str, object], param: str
) -> None:
    default: dict[str, object] = {"messages": TURNS} if path == CHAT else {}
    with pytest.raises(openai.BadRequestError) as refused:
        client.post(path, body={"model": "demo", **default, **body}, cast_to=object)
    assert (refused.value.param or "").endswith(param)
    assert "max_new_tokens" not in refused.value.message
    assert "texts" not in refused.value.message


def test_what_is_null_is_not_given(client: openai.OpenAI) -> None:
    shared = ("stream", "stream_options", "n", "max_tokens", "stop", "seed", "temperature", "user")
    nothing = dict.fromkeys(shared)
    chat = {"messages": TURNS, **nothing, "logprobs": None, "max_completion_tokens": 3}
    message = {"role": "user", "content": "a", "name": None}
    for path, body in (
        (CHAT, chat),
        (CHAT, {**chat, "messages": [message]}),
        ("/completions", {"prompt": "a", **nothing, "echo": None, "logprobs": None}),
        (RESPONSES, {"input": "a", "stream": None, "store": None, "max_output_tokens": 3}),
    ):
        assert client.post(path, body={"model": "demo", **body}, cast_to=object)


def test_responses(client: openai.OpenAI) -> None:
    found = client.responses.create(
        model="demo", input="Where does Ada live?", instructions="Be terse.", max_output_tokens=6
    )
    assert found.status == "incomplete"
    assert found.output_text
    assert found.usage is not None
    assert found.usage.output_tokens == 6
    events = list(
        client.responses.create(
            model="demo",
            input=[{"role": "user", "content": "Where does Ada live?"}],
            instructions="Be terse.",
            max_output_tokens=6,
            stream=True,
        )
    )
    assert [one.sequence_number for one in events] == list(range(len(events)))
    deltas = [one.delta for one in events if one.type == "response.output_text.delta"]
    assert "".join(deltas) == found.output_text
    assert events[0].type == "response.created"
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.output_text == found.output_text
    with client.responses.with_streaming_response.create(
        model="demo", input="a", max_output_tokens=2, stream=True
    ) as raw:
        assert raw.read().endswith(b"\n\ndata: [DONE]\n\n")


def test_errors_are_the_clients_own_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'other'"):
        client.chat.completions.create(model="other", messages=TURNS)
    with pytest.raises(openai.BadRequestError, match="tools") as refused:
        client.chat.completions.create(
            model="demo", messages=TURNS, tools=[{"type": "function", "function": {"name": "f"}}]
        )
    assert refused.value.param == "tools"
    assert refused.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="response_format"):
        client.chat.completions.create(
            model="demo", messages=TURNS, response_format={"type": "json_object"}
        )
    with pytest.raises(openai.BadRequestError, match="temperature") as refused:
        client.chat.completions.create(model="demo", messages=TURNS, temperature=-1)
    assert refused.value.param == "temperature"
    with pytest.raises(openai.BadRequestError, match="window"):
        client.chat.completions.create(model="demo", messages=TURNS, max_tokens=5000)
    with pytest.raises(openai.BadRequestError, match="system speaks first"):
        client.chat.completions.create(model="demo", messages=[*TURNS, *TURNS])
    parts = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with pytest.raises(openai.BadRequestError, match="image_url"):
        client.chat.completions.create(
            model="demo",
            messages=[{"role": "user", "content": parts}],  # type: ignore[list-item,misc]  # as a list of plain dicts
        )
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="demo", input="x")


def test_a_model_without_a_template_says_so(tmp_path: Path) -> None:
    with served(tiny.gpt2(tmp_path / "m"), "text-generation") as one, _client(one) as client:
        with pytest.raises(openai.BadRequestError, match="no chat template"):
            client.chat.completions.create(model="demo", messages=TURNS)
        with pytest.raises(openai.BadRequestError, match="no chat template"):
            list(client.chat.completions.create(model="demo", messages=TURNS, stream=True))


def test_what_does_not_fit_the_task_is_not_there() -> None:
    sentiment = builtin.path("sentiment")
    with served(sentiment, "text-classification") as one, _client(one) as client:
        assert [model.id for model in client.models.list()] == ["demo"]
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="demo", messages=TURNS)


def test_transcriptions(tmp_path: Path) -> None:
    sound = sounds.encoded(sounds.noise(1.0))
    task = "automatic-speech-recognition"
    with served(sounds.whisper(tmp_path / "m"), task) as one, _client(one) as client:
        found = client.audio.transcriptions.create(model="demo", file=("a.wav", sound))
        plain = client.audio.transcriptions.create(
            model="demo", file=("a.wav", sound), response_format="text"
        )
        assert plain == found.text
        with pytest.raises(openai.BadRequestError, match="temperature"):
            client.audio.transcriptions.create(model="demo", file=("a.wav", sound), temperature=0.5)
        with pytest.raises(openai.BadRequestError, match="decoded"):
            client.audio.transcriptions.create(model="demo", file=("a.wav", b"no sound"))
        unsaid = client.audio.transcriptions.create(
            model="demo", file=("a.wav", sound), language="", temperature=0
        )
        assert unsaid.text == found.text
        form = _as_swagger_fills_it(one, "/v1/audio/transcriptions")
        assert form["model"] == "demo"
        sent = client.post(
            "/audio/transcriptions",
            body=form,
            files={"file": ("a.wav", sound)},
            options={"headers": {"content-type": "multipart/form-data"}},
            cast_to=object,
        )
        assert sent == {"text": found.text}
        for language in ("zork", "z" * 5000):
            with pytest.raises(openai.BadRequestError) as refused:
                client.audio.transcriptions.create(
                    model="demo", file=("a.wav", sound), language=language
                )
            assert refused.value.param == "language"
        for name, form in (
            ("model", {"temperature": "0"}),
            ("temperature", {"model": "demo", "temperature": "abc"}),
            ("include[]", {"model": "demo", "include[]": "logprobs"}),
        ):
            with pytest.raises(openai.BadRequestError) as refused:
                client.post(
                    "/audio/transcriptions",
                    body=form,
                    files={"file": ("a.wav", sound)},
                    options={"headers": {"content-type": "multipart/form-data"}},
                    cast_to=object,
                )
            assert refused.value.param == name
        part = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        for name in ("model", "temperature"):
            form_of = {"content-type": "multipart/form-data; boundary=x"}
            body = part % (name.encode(), b"0") * 2 + b"--x--\r\n"
            twice = urllib.request.Request(f"{one.url}/v1/audio/transcriptions", body, form_of)
            with pytest.raises(urllib.error.HTTPError) as answered:
                urllib.request.urlopen(twice, timeout=60)
            with answered.value as answer:
                assert answer.status == 400
                assert json.load(answer)["error"]["param"] == name


def _as_swagger_fills_it(one: Served, path: str) -> dict[str, str]:
    """What Swagger UI sends of a form when nothing but the file is chosen (its sample of each field,
    without the empty ones)."""
    with urllib.request.urlopen(f"{one.url}/openapi.json", timeout=60) as answer:
        operation = json.load(answer)["paths"][path]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    samples = {
        name: field.get("default", field.get("const", field.get("enum", ["string"])[0]))
        for name, field in form.items()
        if field.get("format") != "binary"
    }
    return {name: str(sample) for name, sample in samples.items() if sample not in ("", None)}


@pytest.mark.slow
def test_a_real_model_knows_the_capital_of_france(pytestconfig: pytest.Config) -> None:
    folder = smollm2.convert(pytestconfig.cache.mkdir("smollm2-135m"))
    question = "What is the capital of France?"
    with served(folder, "text-generation", dtype="auto") as one, _client(one) as client:
        found = client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": question}], temperature=0
        )
        assert "Paris" in (found.choices[0].message.content or "")
        assert found.choices[0].finish_reason == "stop"
        theirs = InferenceClient(model=one.url).chat_completion(
            [{"role": "user", "content": question}], temperature=0, max_tokens=30
        )
        assert theirs.choices[0].message.content == found.choices[0].message.content
