"""A deployment's state, told to those who follow its events."""

from __future__ import annotations

from modeldeploy.schema.stages import Stage
from modeldeploy.schema.states import State
from modeldeploy.supervisor.events import EventLog
from modeldeploy.supervisor.record import Record

_STAGE_OF: dict[State, tuple[Stage, float]] = {
    State.PENDING: (Stage.VALIDATE, 0.0),
    State.RUNNING: (Stage.COMPLETE, 1.0),
}

_WORDS: dict[State, str] = {
    State.PENDING: "accepted",
    State.FETCHING: "checking the model",
    State.STARTING: "the model is on this disk",
    State.RUNNING: "ready",
    State.DRAINING: "answering what was accepted",
    State.STOPPED: "stopped",
    State.BACKOFF: "waiting before another try",
    State.FAILED: "failed",
}


def announce(events: EventLog, record: Record) -> None:
    """Tell of the state itself; percent stays where the stages brought it."""
    stage, fraction = _STAGE_OF.get(record.state, (None, 0.0))
    latest = events.latest
    if stage is None:
        stage = latest.stage if latest else Stage.VALIDATE
    error = record.error
    if record.state not in {State.BACKOFF, State.FAILED}:
        error = None  # that of the try before is over
    message = error.message if error else _WORDS[record.state]
    events.tell(record.run, record.state, stage, fraction, message, error=error)
