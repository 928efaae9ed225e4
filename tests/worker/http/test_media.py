"""Images that a request only names: fetched from listed hosts, from no other."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from modeldeploy import builtin
from modeldeploy.errors import InvalidRequest, QueueFull
from modeldeploy.schema.tasks import TASKS
from modeldeploy.schema.worker import Limits
from modeldeploy.worker.http.media import Media
from modeldeploy.worker.http.requests import from_form
from tests.clients.served import Served, served
from tests.models import multimodal, vision
from tests.models.common import encoded
from tests.worker.adapters import inputs

PICTURE = encoded(vision.picture(3, (8, 8)))
LIMIT = 64 * 1024


class _Host(BaseHTTPRequestHandler):
    asked: list[str]
    elsewhere: str
    go_on: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        place = {"/moved": "/picture.png", "/away": self.elsewhere, "/round": "/round"}
        if self.path == "/picture.png":
            self._answer(200, PICTURE)
        elif self.path == "/large":
            self._answer(200, PICTURE + b"\0" * LIMIT)
        elif self.path == "/slow":
            self.go_on.wait(30)
            self.close_connection = True
        elif self.path in place:
            self.send_response(302)
            self.send_header("location", place[self.path])
            self.send_header("content-length", "0")
            self.end_headers()
        else:
            self._answer(404, b"no")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class Host:
    """A host of pictures; ``asked`` are the paths it was asked for."""

    def __init__(self, elsewhere: str = "/") -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()
        told = {"asked": self.asked, "elsewhere": elsewhere, "go_on": self.go_on}
        kind = type("Kind", (_Host,), told)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
        self.netloc = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def unlisted() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


@pytest.fixture(scope="module")
def listed(unlisted: Host) -> Iterator[Host]:
    host = Host(elsewhere=f"http://{unlisted.netloc}/picture.png")
    yield host
    host.close()


@pytest.fixture(scope="module")
def digits(listed: Host) -> Iterator[Served]:
    model = builtin.path("digits")
    limits = Limits(max_body_bytes=LIMIT)
    with served(
        model, "image-classification", allow_media_urls=(listed.netloc,), limits=limits
    ) as one:
        yield one


def ask(one: Served, body: Any, path: str = "/predict") -> requests.Response:
    return requests.post(one.url + path, json=body, timeout=30)


def test_a_listed_host_is_as_good_as_base64(digits: Served, listed: Host) -> None:
    sent = base64.b64encode(PICTURE).decode()
    expected = ask(digits, {"image": sent}).json()["result"]
    for url in (f"http://{listed.netloc}/picture.png", f"HTTP://{listed.netloc}/moved"):
        assert ask(digits, {"image": url}).json()["result"] == expected
        first, second = ask(digits, {"images": [url, sent]}).json()["result"]
        assert first == second
        assert [one["label"] for one in first] == [one["label"] for one in expected]
        assert ask(digits, {"inputs": url, "parameters": {"top_k": 5}}, "/").json() == expected


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/nothing", 422, "answers 404"),
        ("/round", 422, "redirects more than"),
        ("/large", 413, "larger than"),
        ("/away", 422, "are not fetched here"),
    ],
)
def test_what_cannot_be_had_is_told(
    digits: Served, listed: Host, path: str, status: int, words: str
) -> None:
    answer = ask(digits, {"image": f"http://{listed.netloc}{path}"})
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "url",
    [
        "http://{unlisted}/picture.png",
        "http://user@{listed}/picture.png",
        "http://{listed}@{unlisted}/picture.png",
        "http://127.0.0.1/picture.png",
        "http://[::1/",
        "file:///etc/passwd",
        "/etc/passwd",
        "ftp://{listed}/picture.png",
    ],
)
def test_no_other_place_is_asked(digits: Served, listed: Host, unlisted: Host, url: str) -> None:
    before = len(listed.asked)
    url = url.format(listed=listed.netloc, unlisted=unlisted.netloc)
    answer = ask(digits, {"image": url})
    assert answer.status_code == 422
    assert len(listed.asked) == before
    assert unlisted.asked == []


def test_without_a_list_none_is(listed: Host) -> None:
    before = len(listed.asked)
    with served(builtin.path("digits"), "image-classification") as one:
        answer = ask(one, {"image": f"http://{listed.netloc}/picture.png"})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "media_url_not_allowed"
    assert "--allow-media-url" in answer.json()["error"]["hint"]
    assert len(listed.asked) == before


def test_a_chat_may_name_its_images(listed: Host, tmp_path: Path) -> None:
    def chat(url: str) -> dict[str, Any]:
        parts = [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": url}},
        ]
        message = {"role": "user", "content": parts}
        return {"model": "demo", "messages": [message], "max_tokens": 4, "temperature": 0}

    model = multimodal.llava(tmp_path / "m")
    sent = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
    named = f"http://{listed.netloc}/picture.png"
    with served(model, "image-text-to-text", allow_media_urls=(listed.netloc,)) as one:
        answers = [ask(one, chat(url), "/v1/chat/completions").json() for url in (sent, named)]
    first, second = (answer["choices"][0]["message"]["content"] for answer in answers)
    assert first == second
    with served(model, "image-text-to-text") as one:
        refused = ask(one, chat(named), "/v1/chat/completions")
    assert refused.status_code == 400
    assert "URLs" in refused.json()["error"]["message"]


@pytest.mark.promise(17, fault="media of URLs that together take more memory than there is")
def test_what_is_fetched_counts_and_may_be_refused(listed: Host) -> None:
    media = Media((listed.netloc,), LIMIT)
    named = inputs("image-classification", image=f"http://{listed.netloc}/picture.png")
    taken: list[int] = []
    (found,) = asyncio.run(media.fetched([named], taken.append))
    assert sum(taken) == len(found.image) == len(PICTURE)

    def refuse(count: int) -> None:
        raise QueueFull("no room")

    with pytest.raises(QueueFull, match="no room"):
        asyncio.run(media.fetched([named], refuse))


@pytest.mark.parametrize("charset", ["undefined", "punycode", "no-such", "utf-8", "idna"])
def test_whatever_a_form_calls_its_text_no_error_is_ours(digits: Served, charset: str) -> None:
    body = b'--x\r\ncontent-disposition: form-data; name="\xff\xfe"\r\n\r\n\xff\r\n--x--\r\n'
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    answer = requests.post(
        f"{digits.url}/predict", data=body, headers={"content-type": kind}, timeout=30
    )
    assert answer.status_code in {400, 422}, answer.text


@pytest.mark.promise(17, fault="a form in a charset that takes minutes to read (punycode)")
def test_what_a_form_may_call_its_text_is_known(digits: Served) -> None:
    text = b"-" + b"b" * 40_000
    body = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n' + text + b"\r\n--x--\r\n"
    for charset, says in (("punycode", "charset is 'punycode'"), ("UTF-8", "unknown field")):
        kind = f'multipart/form-data; boundary=x; charset="{charset}"'
        answer = requests.post(
            f"{digits.url}/predict", data=body, headers={"content-type": kind}, timeout=30
        )
        assert says in answer.text


@pytest.mark.promise(17, fault="one of a request's files is refused while others still come")
def test_nothing_is_fetched_for_a_request_that_is_over(listed: Host) -> None:
    """It would count for ever."""
    media = Media((listed.netloc,), 10 * LIMIT)
    url = f"http://{listed.netloc}"
    named = [inputs("image-classification", image=f"{url}{path}") for path in ("/nothing", "/slow")]

    async def story() -> None:
        listed.go_on.clear()
        with pytest.raises(InvalidRequest, match="answers 404"):
            await media.fetched(named, lambda count: None)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        listed.go_on.set()

    asyncio.run(story())


def test_a_form_holds_one_file_or_several(digits: Served) -> None:
    expected = ask(digits, {"image": base64.b64encode(PICTURE).decode()}).json()["result"]

    def form(path: str, *parts: tuple[str, bytes], **data: Any) -> requests.Response:
        files = [(name, ("a.png", raw, "image/png")) for name, raw in parts]
        return requests.post(digits.url + path, files=files, data=data, timeout=30)

    for name in ("image", "file"):
        one = ("/predict", (name, PICTURE))
        assert form(*one).json()["result"] == expected
        assert form(*one, top_k="1").json()["result"] == expected[:1]
    for name in ("images", "file"):
        several = form("/predict", (name, PICTURE), (name, PICTURE), top_k=1).json()["result"]
        assert [one["label"] for (one,) in several] == [expected[0]["label"]] * 2
    assert len(form("/predict", ("images", PICTURE)).json()["result"]) == 1
    for parts in ([("image", PICTURE)] * 2, [("image", PICTURE), ("images", PICTURE)]):
        assert form("/predict", *parts, top_k=1).status_code == 422
    assert form("/predict", ("image", PICTURE), top_k="many").status_code == 422
    mixed = form("/predict", ("images", PICTURE), images=base64.b64encode(PICTURE).decode())
    assert mixed.status_code == 422


def test_a_form_may_want_its_answer_piece_by_piece() -> None:
    parts = {"text": "What is it?", "image": PICTURE}
    task = TASKS["image-text-to-text"]
    assert from_form(task, {**parts, "stream": "true"}, most=1).stream
    assert not from_form(task, dict(parts), most=1).stream
