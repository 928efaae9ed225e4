"""What was measured of calls is used again, where it is of the same and nothing disturbed it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.worker import calls as calls_module
from modeldeploy.worker import notes
from modeldeploy.worker.batching.batcher import Batcher
from modeldeploy.worker.batching.curve import Found, Measuring, use
from modeldeploy.worker.calls import Calls
from modeldeploy.worker.state import WorkerState
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters
from tests.worker.specs import worker_spec

TASK = "text-classification"
FOUND = Found(size=96, lanes=(1, 48), weighed=0.01, told="measured: yes")
TOLD = "when several wait, 2 at a time with 1 thread each, of up to 64 inputs and 48 tokens"


@pytest.fixture(scope="module", name="model")
def _model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.classifier(tmp_path_factory.mktemp("model"))


@pytest.fixture(name="spec")
def _spec(model: Path, tmp_path: Path) -> WorkerSpec:
    return worker_spec(model, TASK, 1, dtype="float32", graphs=str(tmp_path / "graphs"))


@pytest.fixture(name="measured", autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each measurement, of which nothing is done but its end."""
    times: list[int] = []

    def run(self: Measuring) -> Found:
        times.append(self._front.threads)
        use(self._adapter, self._front, FOUND)
        return FOUND

    monkeypatch.setattr(Measuring, "run", run)
    return times


def tell(
    spec: WorkerSpec,
    story: Callable[[Calls, Batcher, Any], Awaitable[None]],
    threads: int = 2,
) -> Any:
    """With a fresh adapter, as after a start; the adapter."""
    adapter: Any = loaded(Path(spec.snapshot), TASK)

    async def run() -> None:
        front = adapter.front(10, lambda count: None)
        try:
            await asyncio.wrap_future(front.have_threads(threads, lambda count: None))
            await asyncio.wait_for(
                story(Calls(WorkerState(spec), adapter, front), front, adapter), 20
            )
        finally:
            front.close()

    asyncio.run(run())
    return adapter


async def _settle(calls: Calls, front: Batcher, adapter: Any) -> None:
    await asyncio.to_thread(calls.settle)
    assert TOLD in front.calls


def test_it_is_measured_once(spec: WorkerSpec, measured: list[int]) -> None:
    for _ in range(3):
        adapter = tell(spec, _settle)
        assert adapter.weighed == FOUND.weighed
        assert adapter._unpadded.attention == FOUND.weighed
    assert measured == [2]


def test_other_threads_are_another_measurement(spec: WorkerSpec, measured: list[int]) -> None:
    for threads in (2, 4, 2, 4):
        tell(spec, lambda calls, front, adapter: asyncio.to_thread(calls.settle), threads)
    assert measured == [2, 4]


def test_another_number_of_threads_is_settled_as_it_comes(
    spec: WorkerSpec, measured: list[int]
) -> None:
    async def story(calls: Calls, front: Batcher, adapter: Any) -> None:
        await _settle(calls, front, adapter)
        following = asyncio.ensure_future(asyncio.to_thread(calls.follow))
        for count in (1, 2):
            await asyncio.wrap_future(front.have_threads(count, lambda count: None))
            while count not in measured:
                await asyncio.sleep(0.02)
        front.close()
        with contextlib.suppress(asyncio.CancelledError):  # what a thread's own becomes here
            await following

    tell(spec, story)
    assert measured == [2, 1]


def test_a_graph_is_the_same_beside_packed_weights(
    spec: WorkerSpec, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay where a graph has come while the model served, and are not made when it starts on one."""

    async def story(calls: Calls, front: Batcher, adapter: Any) -> None:
        stored = SimpleNamespace(stored=SimpleNamespace(folder=Path("graph")))
        monkeypatch.setattr(adapter, "graph", stored, raising=False)
        await _settle(calls, front, adapter)
        adapter.runs["weights"] = "packed"
        await _settle(calls, front, adapter)

    tell(spec, story)
    assert measured == [2]


def test_what_requests_disturbed_is_used_until_there_is_a_calm_moment(
    spec: WorkerSpec, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Measuring.run

    async def disturbed(calls: Calls, front: Batcher, adapter: Any) -> None:
        loop = asyncio.get_running_loop()

        def with_a_request(self: Measuring) -> Found | None:
            asyncio.run_coroutine_threadsafe(_ask(front, adapter), loop).result(10)
            return run(self)

        monkeypatch.setattr(Measuring, "run", with_a_request)
        await _settle(calls, front, adapter)
        monkeypatch.setattr(Measuring, "run", run)

    async def asked_meanwhile(calls: Calls, front: Batcher, adapter: Any) -> None:
        settling = asyncio.ensure_future(_settle(calls, front, adapter))
        while not settling.done():
            await _ask(front, adapter)
        await settling

    tell(spec, disturbed)
    tell(spec, asked_meanwhile)
    assert measured == [2]
    tell(spec, _settle)
    tell(spec, _settle)
    assert measured == [2, 2]


def test_what_requests_disturbed_is_measured_again_while_it_serves(
    spec: WorkerSpec, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(calls_module, "_CALM_SECONDS", 0.01)

    async def story(calls: Calls, front: Batcher, adapter: Any) -> None:
        await _settle(calls, front, adapter)
        assert calls._known is not None
        calls._known = msgspec.structs.replace(calls._known, calm=False)
        file = calls._file()
        assert file is not None
        notes.write(file, calls._known)
        following = asyncio.ensure_future(asyncio.to_thread(calls.follow))
        while calls._is_disturbed:
            await asyncio.sleep(0.01)
        front.close()
        with contextlib.suppress(asyncio.CancelledError):  # what a thread's own becomes here
            await following

    tell(spec, story)
    assert measured == [2, 2]


async def _ask(front: Batcher, adapter: Any) -> None:
    await front.run(adapter.pre(inputs(TASK, text="a"), parameters(TASK)))


def test_nothing_is_kept_of_a_model_that_cannot_be_timed(
    spec: WorkerSpec, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Measuring) -> None:
        raise RuntimeError("no")

    async def story(calls: Calls, front: Batcher, adapter: Any) -> None:
        before = front.calls
        await asyncio.to_thread(calls.settle)
        assert front.calls == before

    monkeypatch.setattr(Measuring, "run", fail)
    tell(spec, story)
    assert spec.graphs is not None
    assert not list(Path(spec.graphs).glob("calls-*"))


@pytest.mark.parametrize("damage", [b"", b"{", b'{"size": "many"}'])
def test_a_damaged_file_counts_as_none(
    spec: WorkerSpec, measured: list[int], damage: bytes
) -> None:
    tell(spec, _settle)
    assert spec.graphs is not None
    (file,) = Path(spec.graphs).glob("calls-*.json")
    assert msgspec.json.decode(file.read_bytes(), type=Found) == FOUND
    file.write_bytes(damage)
    tell(spec, _settle)
    assert measured == [2, 2]


def test_what_is_read_is_not_taken_for_what_nobody_reads(
    spec: WorkerSpec, measured: list[int]
) -> None:
    tell(spec, _settle)
    assert spec.graphs is not None
    (file,) = Path(spec.graphs).glob("calls-*.json")
    os.utime(file, (0, 0))
    tell(spec, _settle)
    assert measured == [2]
    assert file.stat().st_mtime > 0


def test_where_nothing_may_be_kept_it_is_measured_each_time(
    spec: WorkerSpec, measured: list[int]
) -> None:
    spec = msgspec.structs.replace(spec, graphs=None)
    tell(spec, _settle)
    tell(spec, _settle)
    assert measured == [2, 2]
