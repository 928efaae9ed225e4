"""The loop that writes: admit, read a prompt, step, tell, and again.

Between two steps of the running batch new requests join and finished ones leave. While others
write, a prompt is read in chunks, one between two steps, so that nobody's stream stands still for
a stranger's long prompt.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from modeldeploy.errors import QueueFull
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.batching.front import Failure, Front, Ticket
from modeldeploy.worker.generation.chunks import Chunks
from modeldeploy.worker.generation.prefixes import Prefixes
from modeldeploy.worker.generation.rows import Prompt, Row
from modeldeploy.worker.generation.sampling import Choice, Chooser, choose
from modeldeploy.worker.generation.slab import Running
from modeldeploy.worker.generation.writer import Decode
from modeldeploy.worker.tasks.scores import not_numbers

_LOOK_AHEAD = 8  # requests, of which one may fit where the first does not
_MOST_PASS = 16
_WHOLE = 2048  # and when nobody writes: between two looks at who has left


@dataclass(eq=False)
class Job:
    """One item of a request: its prompt being read into ``cache``, then its rows."""

    ticket: Ticket
    index: int
    cache: Any
    rows: list[Row]
    read: int = 0

    @property
    def item(self) -> Item:
        return self.ticket.items[self.index]

    @property
    def prompt(self) -> Prompt:
        found: Prompt = self.item.data
        return found


class Engine(Front):
    """Writes for at most ``most_rows`` sequences at a time, which may take ``most_places`` times the
    keys and values of a token together (a request for more is written alone). Never held are more than
    ``held_places``, a prompt that is being read among them; those of prompts that were read are
    kept besides for others that begin alike, within ``prefix_bytes``. A text that gets longer than
    ``longest_beside`` would change what others get, and is written alone. Unless ``in_parts``, prompts
    are read in one call.

    ``decode`` makes text of tokens, ``ends`` are the tokens that end a text, ``on_step`` hears how
    many seconds each step took.
    """

    def __init__(
        self,
        slab: Running,
        decode: Decode,
        ends: frozenset[int],
        most_rows: int,
        most_places: int,
        held_places: int,
        prefix_bytes: int,
        max_queue: int,
        on_batch: Callable[[int], None] = lambda rows: None,
        on_step: Callable[[float], None] = lambda seconds: None,
        longest_beside: int | None = None,
        in_parts: bool = True,
    ) -> None:
        super().__init__(max_queue)
        self._slab = slab
        self._decode = decode
        self._ends = ends
        self._most_rows = most_rows
        self._most_places = most_places
        self._held_places = held_places
        self._longest_beside = longest_beside or sys.maxsize
        self._in_parts = in_parts
        self._barred: Ticket | None = None  # did not fit
        self._passed = 0  # by so many since then
        self.calls = (
            f"steps of up to {most_rows} texts and {most_places:,} tokens, read and to be written, which "
            "join and leave between two"
        )
        self._prefixes = Prefixes(prefix_bytes)
        self._chunks = Chunks()
        self._on_batch, self._on_step = on_batch, on_step
        self._reading: Job | None = None
        self._rows: list[tuple[Job, Row]] = []
        self._thread.start()

    def full(self, depth: int, most: int) -> QueueFull:
        error = super().full(depth, most)
        error.message += (
            f"; {self._most_rows} texts and {self._most_places:,} tokens are written at a time"
        )
        return error

    # In the inference thread.

    def move_to(self, slab: Running) -> None:
        """Write on there from now on, with the rows that are being written."""
        slab.keep_within(self._left(self._reading))
        for at in range(self._slab.count):
            slab.join(*self._slab.row(at))
        self._slab = slab

    def _work(self) -> None:
        with torch.inference_mode():
            while not self.closing.is_set():
                self._do_jobs()
                self._drop()
                self._reading = self._reading or self._next()
                if self._reading:
                    self._guarded([self._reading], self._read)
                if self._rows:
                    self._guarded([job for job, _ in self._rows], self._step)

    def _next(self) -> Job | None:
        """The next item of the queue that fits; waits for one where there is nothing to write."""
        with self._some:
            while not (self.closing.is_set() or self._jobs or self._rows or self._queue):
                self._some.wait()
            ticket = self._fitting()
            if ticket is None:
                return None
            index = ticket.first
            self._turn_to([(ticket, index)])
            item = ticket.items[index]
        rows = [
            Row(item.data, number, self._decode, self._ends, item.sink)
            for number in range(item.data.sequences)
        ]
        cache, read = self._prefixes.start(item.data.ids, self._slab.empty)
        return Job(ticket, index, cache, rows, read)

    def _fitting(self) -> Ticket | None:
        """The first that fits. Who does not is passed by some, and then by nobody until there is room."""
        if self._barred and not self._barred.waiting:
            self._barred = None
        if self._barred and self._passed >= _MOST_PASS:
            few = [self._barred]
        else:
            few = list(islice(self._queue, _LOOK_AHEAD))
        found = None
        for one in few:
            if self._fits(one):
                found = one
                break
            if self._barred is None:
                self._barred, self._passed = one, 0
        if found is self._barred:
            self._barred = None
        elif found:
            self._passed += 1
        return found

    def _fits(self, ticket: Ticket) -> bool:
        prompt: Prompt = ticket.items[ticket.first].data
        rows = len(self._rows) + prompt.sequences
        longest = max(
            len(one.ids) + one.new for one in (prompt, *(job.prompt for job, _ in self._rows))
        )
        places = rows * longest
        held = places + len(prompt.ids) <= self._held_places
        beside = longest <= self._longest_beside
        few = rows <= self._most_rows and places <= self._most_places
        return not self._rows or (held and beside and few)

    def _left(self, job: Job | None) -> int:
        """Places for rows beside the prompt that is being read."""
        return self._held_places - (len(job.prompt.ids) if job else 0)

    def _guarded(self, jobs: list[Job], act: Callable[[], None]) -> None:
        """An error ends the requests it befell, and the loop goes on."""
        try:
            with self._calling():
                act()
        except BaseException as error:  # whatever a model raises; a Rust panic is no Exception
            failure = Failure(error)
            for job in dict.fromkeys(jobs):
                self._fail(job, failure)

    def _read(self) -> None:
        job = self._reading
        assert job is not None
        ids = job.prompt.ids
        self._slab.keep_within(self._left(job))
        most = (self._chunks.size if self._rows else _WHOLE) if self._in_parts else len(ids)
        chunk = ids[job.read : job.read + most]
        begun = time.perf_counter()
        logits = self._slab.read(job.cache, chunk, job.read)
        float(logits[0])  # so that a GPU is through with it
        self._chunks.read(len(chunk), time.perf_counter() - begun)
        job.read += len(chunk)
        if job.read < len(ids):
            return
        self._reading = None
        first = logits.expand(len(job.rows), -1)
        for row, choice in zip(
            job.rows, _chosen(first, [row.chooser for row in job.rows]), strict=True
        ):
            self._slab.join(job.cache, len(ids))
            self._rows.append((job, row))
            self._push(job, row, choice)
        self._prefixes.keep(ids, job.cache)
        self._end()

    def _step(self) -> None:
        self._on_batch(len(self._rows))
        begun = time.perf_counter()
        logits = self._slab.step([row.chooser.written[-1] for _, row in self._rows])
        choices = _chosen(logits, [row.chooser for _, row in self._rows])
        for (job, row), choice in zip(self._rows, choices, strict=True):
            self._push(job, row, choice)
        self._end()
        seconds = time.perf_counter() - begun
        self._chunks.stepped(seconds)
        self._on_step(seconds)

    def _push(self, job: Job, row: Row, choice: Choice | Failure) -> None:
        if job.item.dropped:
            return
        if isinstance(choice, Failure):
            self._fail(job, choice)
            return
        try:
            row.push(choice)
        except (
            BaseException
        ) as error:  # as in :meth:`_guarded`, and not the others' whose step it was
            self._fail(job, Failure(error))

    def _end(self) -> None:
        """Rows that are written leave; requests all of whose rows are written are over."""
        left = []
        for at in reversed(range(len(self._rows))):
            job, row = self._rows[at]
            if row.written or job.item.dropped:
                self._leave(at)
                left.append(job)
        for job in dict.fromkeys(left):
            if not job.item.dropped and all(row.written for row in job.rows):
                self._settle(job, [row.written for row in job.rows])

    def _leave(self, at: int) -> None:
        self._slab.leave(at)
        last = self._rows.pop()
        if at < len(self._rows):
            self._rows[at] = last

    def _settle(self, job: Job, outcome: Any) -> None:
        if job.ticket.settle(job.index, outcome):
            self._settled([job.ticket])

    def _fail(self, job: Job, failure: Failure) -> None:
        if self._reading is job:
            self._reading = None
        self._settle(job, failure)  # which drops all the request's items; their rows leave next

    def _drop(self) -> None:
        """Nobody wants these any more."""
        if self._reading and self._reading.item.dropped:
            self._reading = None
        for at in reversed(range(len(self._rows))):
            if self._rows[at][0].item.dropped:
                self._leave(at)


def _chosen(logits: torch.Tensor, choosers: list[Chooser]) -> list[Choice | Failure]:
    """The next token of each row, or why there is none: what one's rules raise is not the others'."""
    try:
        found = choose(logits, choosers)
    except BaseException as error:  # as in :meth:`Engine._guarded`
        if len(choosers) == 1:
            return [Failure(error)]
        rows = [([one], logits[at : at + 1]) for at, one in enumerate(choosers)]
        return [choice for one, its in rows for choice in _chosen(its, one)]
    return [choice or Failure(not_numbers("logits")) for choice in found]
