"""``python -m tests.faults.killed_store FOLDER ROUNDS``: children that write the state are killed.

Each child saves one record, grown every time, and is killed at an instruction of SQLite's own
machine (its progress handler counts them) or at a random moment. What it had saved before must be
there, whole, and at most one more.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from pathlib import Path

from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.states import Desired, State
from modeldeploy.supervisor.record import Record
from modeldeploy.supervisor.store import Store


def record(number: int) -> Record:
    """Whole when its parts agree; large enough for several pages of the file."""
    return Record(
        name="e",
        spec=Spec(model_id="m" * (1 + number % 4000), cache_dir="/" + "c" * (number * 37 % 9000)),
        desired=Desired.RUNNING,
        state=State.PENDING,
        created_at=1.0,
        run=number,
    )


def write_on(file: Path, said: int, dice: random.Random) -> None:
    """In the child: save the next numbers and say each that is on disk, until killed."""
    store = Store(file)
    found = store.records()
    number = found[0].run if found else 0
    left = dice.randrange(1, 4000)
    if dice.random() < 0.3:
        threading.Timer(dice.random() * 0.01, os.kill, (os.getpid(), signal.SIGKILL)).start()

    def step() -> int:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    store._db.set_progress_handler(step, 1)
    while True:
        number += 1
        store.save(record(number))
        os.write(said, number.to_bytes(4, "little"))


def check(file: Path, before: int, said: bytes) -> int:
    """The number that is there."""
    store = Store(file)
    assert store.set_aside is None, "a kill has damaged it"
    found = store.records()
    store.close()
    last = int.from_bytes(said[-4:], "little") if said else before
    there = found[0].run if found else 0
    assert there in {last, last + 1}, (there, last)
    assert not found or found[0] == record(there), "old and new are mixed"
    return there


def main(folder: str, rounds: str) -> None:
    file, there = Path(folder) / "state.db", 0
    for round_ in range(int(rounds)):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            write_on(file, writer, random.Random(round_))
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        there = check(file, there, said)
    print(there)


if __name__ == "__main__":
    main(*sys.argv[1:])
