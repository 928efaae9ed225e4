from __future__ import annotations

import asyncio

from modeldeploy.schema.stages import Stage
from modeldeploy.schema.states import State
from modeldeploy.supervisor.events import KEPT, EventLog


def test_percent_never_falls_within_a_run_and_starts_afresh_in_the_next() -> None:
    log = EventLog()
    log.tell(1, State.FETCHING, Stage.DOWNLOAD, 1.0, "a")
    log.tell(1, State.FETCHING, Stage.DOWNLOAD, 0.2, "b")
    log.begin()
    log.tell(2, State.PENDING, Stage.VALIDATE, 0.0, "c")
    assert [event.percent for event in log.after(0)] == [0.0]
    assert log.after(0)[0].seq == 3


def test_byte_progress_is_thinned_for_latecomers() -> None:
    log = EventLog()
    for done in range(3 * KEPT):
        log.tell(1, State.FETCHING, Stage.DOWNLOAD, done / 1500, "get", done, 1500, "bytes")
    log.tell(1, State.STARTING, Stage.LOAD, 0.0, "load")
    assert [event.message for event in log.after(0)] == ["get", "load"]
    assert log.after(0)[0].done == 3 * KEPT - 1


def test_a_follower_gets_what_was_and_what_comes() -> None:
    async def scenario() -> list[str]:
        log, settled, got = EventLog(), False, []
        log.tell(1, State.PENDING, Stage.VALIDATE, 0.0, "one")

        async def listen() -> None:
            got.extend([e.message async for e in log.follow(0, until=lambda: settled)])

        task = asyncio.create_task(listen())
        await asyncio.sleep(0)
        log.tell(1, State.FETCHING, Stage.VALIDATE, 0.5, "two")
        await asyncio.sleep(0.01)
        settled = True
        log.tell(1, State.RUNNING, Stage.COMPLETE, 1.0, "three")
        await asyncio.wait_for(task, 5)
        return got

    assert asyncio.run(scenario()) == ["one", "two", "three"]
