from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from modeldeploy.errors import QueueFull, SlowBody
from modeldeploy.web import room as rooms
from modeldeploy.web.incoming import Incoming
from modeldeploy.web.room import LITTLE, Room

MUCH = 10 * LITTLE


@dataclass(eq=False)
class Request:
    held: int = 0

    def forget(self) -> None:
        raise AssertionError("it is here, and does not give way")


def full(room: Room, size: int = MUCH) -> None:
    while room.taken + size - LITTLE <= MUCH:
        room.take(Request(), size)


@pytest.mark.promise(18, fault="large bodies that fill all the memory there is for bodies")
def test_who_brings_little_has_room_always() -> None:
    room = Room(MUCH, lambda: 7)
    full(room)
    for _ in range(100):
        small = Request()
        room.take(small, LITTLE // 2)
        room.take(small, LITTLE // 2)
    with pytest.raises(QueueFull, match="too much memory") as refused:
        room.take(small, MUCH)
    assert refused.value.retry_after == 7
    assert small.held == LITTLE


def test_what_leaves_makes_room() -> None:
    room = Room(MUCH, lambda: 7)
    one = Request()
    for _ in range(3):
        room.take(one, MUCH)
        with pytest.raises(QueueFull):
            room.take(Request(), MUCH)
        room.leave(one, one.held // 2)
        room.leave(one, one.held)
        assert (room.taken, one.held) == (0, 0)


def incoming(*chunks: bytes) -> Incoming:
    """It sends these, and then nothing for ever."""
    messages = [{"type": "http.request", "body": one, "more_body": True} for one in chunks]

    async def receive() -> object:
        if messages:
            return messages.pop(0)
        return await asyncio.Future()

    return Incoming({"headers": []}, receive)  # type: ignore[arg-type]  # all that it reads


@pytest.mark.promise(18, fault="senders of large bodies that stall, with all the memory there is")
def test_who_stalls_gives_way_and_until_when_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        room = Room(2 * MUCH, lambda: 60)
        stalled = [incoming(bytes(LITTLE), bytes(size)) for size in (MUCH, MUCH - 1)]
        reading = [asyncio.ensure_future(one.body(10**9, room)) for one in stalled]
        await asyncio.sleep(0.05)
        with pytest.raises(QueueFull) as refused:
            room.take(Request(), MUCH)
        assert refused.value.retry_after == 2, "they may send for so long"
        with pytest.raises(QueueFull) as refused:
            room.take(Request(), 4 * MUCH)
        assert refused.value.retry_after == 60, "they have not so much"
        monkeypatch.setattr(rooms, "_PATIENCE", 0.0)
        room.take(Request(), MUCH)
        with pytest.raises(SlowBody, match="others needed its room"):
            await reading[0]
        assert not reading[1].done(), "it has less of it, and nobody else asked"
        assert (stalled[0].held, stalled[0]._pieces) == (0, []), "it waits for nobody's answer"
        reading[1].cancel()

    asyncio.run(story())


def test_who_has_sent_all_does_not_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "_PATIENCE", 0.0)

    async def story() -> None:
        room = Room(MUCH, lambda: 9)
        whole = incoming()

        async def receive() -> object:
            return {"type": "http.request", "body": bytes(MUCH)}

        whole.receive = receive  # type: ignore[assignment]  # all that it reads
        assert len(await whole.body(10**9, room)) == MUCH
        with pytest.raises(QueueFull) as refused:
            room.take(Request(), MUCH)
        assert refused.value.retry_after == 9

    asyncio.run(story())


@pytest.mark.promise(18, fault="stalled bodies, and a large one that needs the room of two of them")
def test_no_more_give_way_than_are_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "_PATIENCE", 0.0)

    async def story() -> None:
        room = Room(4 * MUCH, lambda: 60)
        stalled = [incoming(bytes(LITTLE + MUCH)) for _ in range(4)]
        reading = [asyncio.ensure_future(one.body(10**9, room)) for one in stalled]
        await asyncio.sleep(0.05)
        one = Request()
        for _ in range(2 * MUCH // LITTLE):
            room.take(one, LITTLE)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sum(task.done() for task in reading) == 2
        assert room.taken == 4 * MUCH - LITTLE
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    asyncio.run(story())


@pytest.mark.promise(18, fault="clients that only say that they will send, as many as there may be")
def test_who_sends_nothing_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "_MOST_COMING", 5)

    async def story() -> None:
        room = Room(MUCH, lambda: 9)
        reading = [asyncio.ensure_future(incoming().body(9, room)) for _ in range(5)]
        await asyncio.sleep(0)
        sixth = asyncio.ensure_future(incoming(b"x").body(9, room))
        await asyncio.sleep(0.01)
        assert [one.done() for one in reading] == [True, False, False, False, False]
        with pytest.raises(SlowBody):
            await reading[0]
        for task in (*reading[1:], sixth):
            task.cancel()
        await asyncio.gather(*reading, sixth, return_exceptions=True)

    asyncio.run(story())
