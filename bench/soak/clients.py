"""Who asks in the soak, each at a modest pace: the ordinary, the streaming, the leaving, the wrong."""

from __future__ import annotations

import base64
import http.client
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modeldeploy import builtin
from tests.faults.load import Kind, Load

_JSON = {"content-type": "application/json"}
_LINES_HEARD = 3  # before a client leaves
_Outcome = tuple[Kind, int, str]


class Posts(Load):
    """JSON to ``path``; ``body`` makes it and ``is_right`` judges what it is answered."""

    def __init__(
        self,
        url: str,
        path: str,
        body: Callable[[str], Any],
        is_right: Callable[[str, Any], bool],
        pause: float,
    ) -> None:
        super().__init__(url, clients=1, pause=pause)
        self._path, self._body, self._is_right = path, body, is_right

    def _exchange(self, connection: http.client.HTTPConnection, text: str, id_: str) -> _Outcome:
        headers = {**_JSON, "x-request-id": id_}
        connection.request("POST", self._path, json.dumps(self._body(text)), headers)
        response = connection.getresponse()
        raw = response.read()
        if response.status != 200:
            return Kind.REFUSED, response.status, raw[:200].decode()
        right = self._is_right(text, json.loads(raw))
        return (Kind.ANSWERED if right else Kind.WRONG), 200, "" if right else raw[:200].decode()


class Streams(Load):
    """Chats, streamed; where the client ``leaves`` it goes away after a few words."""

    def __init__(self, url: str, model: str, pause: float, *, leaves: bool = False) -> None:
        super().__init__(url, clients=1, pause=pause)
        self._model, self._leaves = model, leaves

    def _exchange(self, connection: http.client.HTTPConnection, text: str, id_: str) -> _Outcome:
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 150 if self._leaves else 24,
            "stream": True,
        }
        headers = {**_JSON, "x-request-id": id_}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            return Kind.REFUSED, response.status, response.read(200).decode()
        if self._leaves:
            heard = [response.readline() for _ in range(_LINES_HEARD)]
            return (Kind.ANSWERED if all(heard) else Kind.BROKEN), 200, ""
        whole = response.read()
        right = whole.rstrip().endswith(b"data: [DONE]")
        return (Kind.ANSWERED if right else Kind.WRONG), 200, "" if right else str(whole[-200:])


class Bad(Load):
    """What is to be refused. ``ANSWERED`` is the refusal that fits."""

    _ASKED: tuple[tuple[str, str, bytes, dict[str, str], set[int]], ...] = (
        ("POST", "/predict", b"{", _JSON, {400}),
        ("POST", "/predict", b'{"text": 7}', _JSON, {422}),
        ("POST", "/predict", b'{"text": "x", "unknown": 1}', _JSON, {422}),
        ("POST", "/predict", b'{"text": "x"}', {"content-type": "text/plain"}, {415}),
        ("POST", "/predict", b'{"text": "x"}', {**_JSON, "host": "evil.example"}, {421}),
        ("POST", "/predict", b'{"text": "x"}', {**_JSON, "origin": "http://evil.example"}, {403}),
        ("DELETE", "/predict", b"", {}, {405}),
        ("GET", "/nowhere", b"", {}, {404}),
        ("POST", "/predict", b"", {**_JSON, "content-length": "99999999999"}, {413}),
    )

    def __init__(self, url: str, prefix: str, pause: float) -> None:
        super().__init__(url, clients=1, pause=pause)
        self._prefix, self._dice = prefix, random.Random(11)

    def _exchange(self, connection: http.client.HTTPConnection, text: str, id_: str) -> _Outcome:
        method, path, body, headers, fitting = self._dice.choice(self._ASKED)
        connection.request(method, self._prefix + path, body, {**headers, "x-request-id": id_})
        response = connection.getresponse()
        raw = response.read()
        kind = Kind.ANSWERED if response.status in fitting | {503} else Kind.WRONG
        return kind, response.status, raw[:200].decode()


def _example() -> str:
    file: Path = sorted((builtin.path("digits") / "examples").glob("*.png"))[0]
    return base64.b64encode(file.read_bytes()).decode()


def everybody(urls: dict[str, str], front: str) -> dict[str, Load]:
    """About a dozen requests a second in all. ``urls`` are the deployments' own, by name."""
    digit = _example()

    def is_echoed(text: str, answer: Any) -> bool:
        return bool(answer["result"] == [{"text": text}])

    def is_sentiment(text: str, answer: Any) -> bool:
        return {one["label"] for one in answer["result"]} <= {"POSITIVE", "NEGATIVE", "NEUTRAL"}

    return {
        "echo": Load(urls["echo"], clients=1, pause=0.25),
        "echo, by the gateway": Posts(
            front, "/deployments/echo/predict", lambda text: {"text": text}, is_echoed, 0.4
        ),
        "restless (stopped, started)": Load(urls["restless"], clients=1, pause=0.4),
        "sentiment": Posts(
            urls["sentiment"], "/predict", lambda text: {"text": text}, is_sentiment, 0.5
        ),
        "sentiment, by the gateway": Posts(
            front,
            "/deployments/sentiment/predict",
            lambda text: {"text": f"{text} is not bad"},
            is_sentiment,
            1.0,
        ),
        "digits": Posts(
            urls["digits"],
            "/predict",
            lambda text: {"image": digit},
            lambda text, answer: bool(answer["result"]),
            1.0,
        ),
        "chat, streamed by the gateway": Streams(front, "chat", 4.0),
        "chat, left in mid-stream": Streams(urls["chat"], "chat", 12.0, leaves=True),
        "chat, left at the gateway": Streams(front, "chat", 12.0, leaves=True),
        "bad requests": Bad(urls["echo"], "", 1.0),
        "bad requests to the gateway": Bad(front, "/deployments/echo", 1.0),
    }
