"""The states of a deployment and the one table of moves between them."""

from __future__ import annotations

from enum import Enum


class State(str, Enum):
    PENDING = "PENDING"
    FETCHING = "FETCHING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"
    BACKOFF = "BACKOFF"
    FAILED = "FAILED"


class Desired(str, Enum):
    """What the user asked for; it outlives every process."""

    RUNNING = "running"
    STOPPED = "stopped"
    REMOVED = "removed"


MOVES: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.FETCHING, State.STOPPED}),
    State.FETCHING: frozenset({State.STARTING, State.FAILED, State.STOPPED, State.PENDING}),
    State.STARTING: frozenset({State.RUNNING, State.BACKOFF, State.FAILED, State.DRAINING}),
    State.RUNNING: frozenset({State.DRAINING, State.BACKOFF, State.FAILED}),
    State.DRAINING: frozenset({State.STOPPED, State.PENDING}),
    State.BACKOFF: frozenset({State.STARTING, State.STOPPED, State.PENDING}),
    State.STOPPED: frozenset({State.PENDING}),
    State.FAILED: frozenset({State.PENDING, State.STOPPED}),
}

SETTLED = frozenset({State.RUNNING, State.STOPPED, State.FAILED})


class IllegalMove(AssertionError):
    """A bug in the planner: the table does not know this move."""


def move(old: State, new: State) -> State:
    """``new``, if the table allows it from ``old`` (staying is always allowed).

    Raises:
        IllegalMove: the planner asked for a move that the table does not know.
    """
    if new is not old and new not in MOVES[old]:
        raise IllegalMove(f"{old.value} -> {new.value}")
    return new
