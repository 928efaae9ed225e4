"""How much room the keys and values of rows get. A place is one token of one row."""

from __future__ import annotations

import sys

Room = tuple[int, int]  # rows and columns

FIRST: Room = (4, 256)
BOUNDLESS = sys.maxsize
_FAR = 4  # times what is wanted: so much more is given back


def wanted(rows: int, columns: int, most: int, grain: Room | None = None) -> Room:
    """Room for so many within ``most`` places, with columns to spare, and rows where there are places
    for them too: so that it is seldom made anew. It is a multiple of ``grain`` (:data:`FIRST`)."""
    grain = grain or FIRST
    spared = _up(columns + columns // 8, grain[1])
    for room in ((_up(rows, grain[0]), spared), (rows, spared)):
        if places(room) <= most:
            return room
    return rows, max(columns, most // rows)


def covers(room: Room, other: Room) -> bool:
    return all(have >= need for have, need in zip(room, other, strict=True))


def is_far_more(room: Room, target: Room, most: int) -> bool:
    """Whether ``target`` is to be had in its place, though it suffices."""
    return places(room) > most or places(room) >= _FAR * places(target)


def both(one: Room, other: Room) -> Room:
    """What there is in either."""
    return min(one[0], other[0]), min(one[1], other[1])


def places(room: Room) -> int:
    return room[0] * room[1]


def _up(count: int, step: int) -> int:
    return -(-count // step) * step
