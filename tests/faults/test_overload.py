"""More than can be served: slow senders, idlers, ten times the capacity."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modeldeploy.schema.worker import Limits
from tests.worker.live import LiveWorker, eventually, live_worker

CROWD = 500
CAPACITY = 72  # of a queue of 8: so many may be read beside those that wait


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 3 * CROWD:
        pytest.skip(f"this process may open only {before[1]} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def wire(text: str, delay: float = 0.0) -> bytes:
    body = json.dumps({"text": text, "delay": delay}).encode()
    head = (
        "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


async def answer_of(reader: asyncio.StreamReader) -> Answer:
    """An empty one where the connection ends before it."""
    raw = await asyncio.wait_for(reader.read(), 60)
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return Answer(int(status.split()[1]) if status else 0, headers, body)


async def ask(port: int, text: str, delay: float = 0.0) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(wire(text, delay))
        return await answer_of(reader)
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def crowd(port: int, sent: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connections that have sent so much, and then nothing."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CROWD)]
    try:
        for _, writer in opened:
            writer.write(sent)
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()


def in_flight(worker: LiveWorker) -> int:
    report = worker.report()
    assert report is not None
    return report.in_flight


@pytest.mark.promise(18, fault="500 slow senders and 500 idle connections, which then leave")
def test_slow_senders_and_idlers_stop_nobody(tmp_path: Path) -> None:
    async def story(worker: LiveWorker) -> None:
        async with crowd(worker.port, b""), crowd(worker.port, wire("x")[:-5]):
            await asyncio.to_thread(eventually, lambda: in_flight(worker) == CROWD)
            answers = [await ask(worker.port, f"{n}") for n in range(50)]
            assert [answer.status for answer in answers] == [200] * 50
        await asyncio.to_thread(eventually, lambda: in_flight(worker) == 0)
        assert (await ask(worker.port, "after")).status == 200

    with live_worker(tmp_path, "echo", tmp_path, limits=Limits(max_queue=8)) as worker:
        worker.until("ready")
        asyncio.run(story(worker))


@pytest.mark.promise(18, fault="ten times as many requests as there is room for")
def test_the_surplus_is_refused_at_once_and_recovery_is_complete(tmp_path: Path) -> None:
    order: list[int] = []

    async def one(port: int, number: int) -> Answer:
        # A delay of its own is a batch of its own.
        answer = await ask(port, f"{number}", delay=0.1 + number / 1e6)
        order.append(answer.status)
        return answer

    async def story(worker: LiveWorker) -> None:
        many = range(10 * CAPACITY)
        answers = await asyncio.gather(*(one(worker.port, number) for number in many))
        served = [answer for answer in answers if answer.status == 200]
        refused = [answer for answer in answers if answer.status == 429]
        assert len(served) + len(refused) == len(answers), "a request has no true answer"
        assert len(served) >= 9
        assert len(refused) > 8 * CAPACITY
        assert order[-1] == 200, "a refusal had to wait for what is served"
        for answer in refused:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            told = json.loads(answer.body)["error"]["queue"]
            assert told["position"] == told["depth"] + 1 > told["limit"]
            assert answer.headers["x-queue-position"] == str(told["position"])
        patience = max(int(answer.headers["retry-after"]) for answer in refused)
        await asyncio.sleep(patience)  # as they were told
        assert in_flight(worker) == 0
        again = await asyncio.gather(*(ask(worker.port, f"{n}") for n in range(8)))
        assert [answer.status for answer in again] == [200] * 8

    with live_worker(tmp_path, "echo", tmp_path, limits=Limits(max_queue=8)) as worker:
        worker.until("ready")
        asyncio.run(story(worker))
