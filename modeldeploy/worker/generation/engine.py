"""The loop that writes: admit, read a prompt, step, tell, and again.

Between two steps of the running batch new requests join and finished ones leave. A prompt is read
in chunks, one between two steps, so that nobody's stream stands still for a stranger's long prompt; and
between two chunks a shorter prompt may go first.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, islice
from typing import Any

import torch

from modeldeploy.errors import QueueFull
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.batching.front import Failure, Front, Ticket
from modeldeploy.worker.generation.chunks import Chunks
from modeldeploy.worker.generation.prefixes import Prefixes
from modeldeploy.worker.generation.rows import Prompt, Row, Written
from modeldeploy.worker.generation.sampling import Choice, Chooser, choose
from modeldeploy.worker.generation.slab import Running
from modeldeploy.worker.generation.writer import Decode
from modeldeploy.worker.tasks.scores import not_numbers

_LOOK_AHEAD = 8  # requests, of which one may fit where the first does not
_MOST_PASS = 16
_LEAST = 64  # tokens that reading a prompt costs, however short it is


@dataclass(eq=False)
class Job:
    """One item of a request: its prompt is read into ``cache``, which is held until all its rows have
    joined those that are written. ``first`` are the logits behind the prompt."""

    ticket: Ticket
    index: int
    cache: Any
    rows: list[Row]
    read: int = 0
    passed: int = 0  # tokens of others that were read first
    first: Any = None
    joined: int = 0  # rows

    @property
    def item(self) -> Item:
        return self.ticket.items[self.index]

    @property
    def prompt(self) -> Prompt:
        found: Prompt = self.item.data
        return found


class Engine(Front):
    """Writes for at most ``most_rows`` sequences at a time, which may take ``most_places`` times the
    keys and values of a token together (a text that needs more is written alone). A request that is
    more leaves some rows to others, and its sequences join as they find room. Never held are more than
    ``held_places``, prompts of which not all sequences have joined among them; those of prompts that were read are
    kept besides for others that begin alike, within ``prefix_bytes``. A text that gets longer than
    ``longest_beside`` would change what others get, and what was read of itself: ``write_alone`` writes
    it when nobody else is there, and gives its sequences or why there are none. Unless ``in_parts``,
    prompts are read in one call.

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
        write_alone: Callable[[Item], list[Written] | Failure] | None = None,
        in_parts: bool = True,
    ) -> None:
        super().__init__(max_queue)
        self._slab = slab
        self._decode = decode
        self._ends = ends
        self._most_rows = most_rows
        self._most_places = most_places
        self._held_places = held_places
        self._longest_beside = (write_alone and longest_beside) or sys.maxsize
        self._write_alone = write_alone
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
        self._reading: list[Job] = []  # each shorter than those before: the last is read first
        self._joining: list[Job] = []  # read, and not all of their rows have joined
        self._rows: list[tuple[Job, Row]] = []
        self._thread.start()

    @property
    def held_bytes(self) -> int:
        """What is kept of prompts that were read."""
        return self._prefixes.bytes

    def full(self, depth: int, most: int) -> QueueFull:
        error = super().full(depth, most)
        error.message += (
            f"; {self._most_rows} texts and {self._most_places:,} tokens are written at a time"
        )
        return error

    # In the inference thread.

    def move_to(self, slab: Running) -> None:
        """Write on there from now on, with the rows that are being written."""
        slab.keep_within(self._left())
        for at in range(self._slab.count):
            slab.join(*self._slab.row(at))
        self._slab = slab

    def _work(self) -> None:
        with torch.inference_mode():
            while not self.closing.is_set():
                self._do_jobs()
                self._drop()
                for job in list(self._joining):
                    self._guarded([job], partial(self._join, job))
                self._admit()
                if self._reading:
                    self._guarded([self._reading[-1]], self._read)
                if self._rows:
                    self._guarded([job for job, _ in self._rows], self._step)

    def _admit(self) -> None:
        job = self._next()
        if job is None:
            return
        if self._changes(job.prompt):
            self._guarded([job], partial(self._alone, job))
            return
        for one in self._reading:
            one.passed += _cost(job.prompt)
        self._reading.append(job)

    def _next(self) -> Job | None:
        """The next item of the queue that fits; waits for one where there is nothing to do."""
        with self._some:
            while not (self.closing.is_set() or self._jobs or self._there or self._queue):
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
        """The first that fits. Who does not is passed by some, and then by nobody until there is room,
        but for sequences of what is there."""
        if self._barred and not self._barred.waiting:
            self._barred = None
        if self._barred and self._passed >= _MOST_PASS:
            few = [self._barred]
        else:
            few = list(islice(self._queue, _LOOK_AHEAD))
        is_full = bool(self._there) and len(self._taken) >= self._most_rows
        found = None
        for one in filter(self._may_pass, few):
            if not is_full and self._fits(one):
                found = one
                break
            if self._barred is None and not self._serves(one):
                self._barred, self._passed = one, 0
        if found is self._barred:
            self._barred = None
        elif found:
            self._passed += 1
        return found

    def _may_pass(self, ticket: Ticket) -> bool:
        """Whether it may be read before those who are being read: it is shorter than what is left of
        them, and they wait no longer for others than they take themselves."""
        prompt = _next_prompt(ticket)
        return all(
            len(prompt.ids) < len(one.prompt.ids) - one.read
            and one.passed + _cost(prompt) <= len(one.prompt.ids)
            for one in self._reading
        )

    def _fits(self, ticket: Ticket) -> bool:
        """Whether the next item's prompt may be read, and one of its rows be written then."""
        prompt = _next_prompt(ticket)
        if not self._there:
            return True
        return not self._changes(prompt) and self._rooms(ticket, prompt, len(prompt.ids)) > 0

    def _rooms(self, ticket: Ticket, prompt: Prompt, reads: int = 0) -> int:
        """How many more rows of it may be written, where ``reads`` tokens more are held for them."""
        longest = max(
            len(one.ids) + one.new for one in (prompt, *(job.prompt for job in self._there))
        )
        places = min(self._most_places, self._left() - reads)
        most = min(self._most_rows, places // longest)
        taken = self._taken
        found = most - len(taken)
        if self._serves(ticket) and _is_more(ticket, most):
            large = sum(rows for one, rows in Counter(taken).items() if _is_more(one, most))
            found = min(found, most - _spare(most) - large)
        return found

    @property
    def _taken(self) -> list[Ticket]:
        """For each row that is written, or promised to a prompt that is held, whose it is."""
        promised = set(self._held) - self._writing
        return [job.ticket for job in (*promised, *(job for job, _ in self._rows))]

    def _serves(self, ticket: Ticket) -> bool:
        return any(job.ticket is ticket for job in self._there)

    @property
    def _held(self) -> list[Job]:
        """Whose prompts are held."""
        return [*self._reading, *self._joining]

    @property
    def _writing(self) -> set[Job]:
        return {job for job, _ in self._rows}

    @property
    def _there(self) -> set[Job]:
        return {*self._held, *self._writing}

    def _changes(self, prompt: Prompt) -> bool:
        """Whether the model's rotations become others on the way."""
        return len(prompt.ids) + prompt.new > self._longest_beside

    @property
    def most_places(self) -> int:
        """Tokens, read and to be written, of all texts at once."""
        return self._most_places

    def _left(self) -> int:
        """Places for rows beside the prompts that are held."""
        return self._held_places - sum(len(one.prompt.ids) for one in self._held)

    def _guarded(self, jobs: list[Job], act: Callable[[], None]) -> None:
        """An error ends the requests it befell, and the loop goes on."""
        try:
            with self._calling():
                act()
        except BaseException as error:  # whatever a model raises; a Rust panic is no Exception
            failure = Failure(error)
            for job in dict.fromkeys(jobs):
                self._fail(job, failure)

    def _alone(self, job: Job) -> None:
        """Nobody writes, and nothing that was read is used or kept."""
        assert self._write_alone is not None
        self._slab.keep_within(max(1, self._held_places - job.item.size))
        self._on_batch(job.prompt.sequences)
        outcome = self._write_alone(job.item)
        if not job.item.dropped:
            self._settle(job, outcome)

    def _read(self) -> None:
        job = self._reading[-1]
        ids = job.prompt.ids
        self._slab.keep_within(self._left())
        most = len(ids)
        if self._in_parts:
            most = self._chunks.next(len(ids) - job.read, beside=bool(self._rows))
        chunk = ids[job.read : job.read + most]
        begun = time.perf_counter()
        logits = self._slab.read(job.cache, chunk, job.read)
        float(logits[0])  # so that a GPU is through with it
        self._chunks.read(len(chunk), time.perf_counter() - begun)
        job.read += len(chunk)
        if job.read < len(ids):
            return
        self._reading.pop()
        self._prefixes.keep(ids, job.cache, self._slab.empty)
        job.first = logits.clone()  # or all that it is a view of is held
        self._joining.append(job)
        # A long one joins at the next turn: others do not wait for its last part and for its room at once.
        if len(chunk) == len(ids) or not self._rows:
            self._join(job)

    def _join(self, job: Job) -> None:
        """As many of its rows as there is room for; one there is, if it has none."""
        count = max(0, self._rooms(job.ticket, job.prompt)) + (job not in self._writing)
        rows = job.rows[job.joined : job.joined + count]
        if not rows:
            return
        self._slab.keep_within(self._left())
        first = job.first.expand(len(rows), -1)
        for row, choice in zip(rows, _chosen(first, [row.chooser for row in rows]), strict=True):
            if job.item.dropped:  # by the row before: its cache is gone
                break
            self._slab.join(job.cache, len(job.prompt.ids))
            job.joined += 1
            self._rows.append((job, row))
            self._push(job, row, choice)
        if job.joined == len(job.rows):
            self._let_go(job)
        self._end()

    def _let_go(self, job: Job) -> None:
        """Of what was read of its prompt."""
        for held in (self._reading, self._joining):
            if job in held:
                held.remove(job)
        job.cache = job.first = None

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
        self._let_go(job)
        self._settle(job, failure)  # which drops all the request's items; their rows leave next

    def _drop(self) -> None:
        """Nobody wants these any more."""
        for job in self._held:
            if job.item.dropped:
                self._let_go(job)
        for at in reversed(range(len(self._rows))):
            if self._rows[at][0].item.dropped:
                self._leave(at)


def _next_prompt(ticket: Ticket) -> Prompt:
    prompt: Prompt = ticket.items[ticket.first].data
    return prompt


def _cost(prompt: Prompt) -> int:
    """Of reading it, in tokens."""
    return max(len(prompt.ids), _LEAST)


def _spare(rows: int) -> int:
    """Of so many, those that are kept from a request that is more than the rest."""
    return max(1, rows // 8) if rows > 1 else 0


def _is_more(ticket: Ticket, rows: int) -> bool:
    """Whether it has more sequences than that."""
    return any(count > rows for count in accumulate(one.data.sequences for one in ticket.items))


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
