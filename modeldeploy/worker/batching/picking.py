"""Which of what waits shares the next call of a model.

Items with the same key, of about the same size (padding is paid in full on a CPU), of as many requests
as there are: of each one, then of each the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.batching.front import Ticket

_LOOK_AHEAD = 256

Chosen = tuple[Ticket, int]


def leads(queue: Iterable[Ticket]) -> Iterator[Item]:
    """The first item in the queue, and of each other key the first: while one waits for company
    another's call may be full."""
    keys = set()
    for ticket in queue:
        item = ticket.items[ticket.waiting[0]]
        if item.key not in keys:
            keys.add(item.key)
            yield item


def company(queue: Sequence[Ticket], lead: Item, limits: BatchLimits) -> tuple[list[Chosen], bool]:
    """``lead`` and those that cost least beside it, and whether there is no room for more."""
    candidates = list(islice(_beside(queue, lead, limits), _LOOK_AHEAD))
    if limits.padded:
        candidates.sort(key=lambda one: abs(one[0].items[one[1]].size - lead.size))
    return _within(limits, candidates)


def shared(limits: BatchLimits, queue: Iterable[Ticket], takers: int) -> BatchLimits:
    """The limits with which one of so many takes no more than its share of what waits."""
    waiting, enough = 0, takers * limits.items
    for ticket in queue:
        waiting += len(ticket.waiting)
        if waiting >= enough:
            return limits
    return replace(limits, items=max(1, -(-waiting // takers)))


def take(chosen: Iterable[Chosen]) -> None:
    """Off their tickets."""
    taken: dict[Ticket, set[int]] = {}
    for ticket, index in chosen:
        taken.setdefault(ticket, set()).add(index)
    for ticket, indices in taken.items():
        ticket.waiting = [index for index in ticket.waiting if index not in indices]
        ticket.begin()


def _beside(queue: Iterable[Ticket], lead: Item, limits: BatchLimits) -> Iterator[Chosen]:
    """What may share a call with ``lead``: of each request one, then of each the next."""
    queues = [(ticket, iter(ticket.waiting)) for ticket in queue]
    while queues:
        left = []
        for ticket, waiting in queues:
            for index in waiting:
                one = ticket.items[index]
                if one.key == lead.key and (one.size == lead.size or not limits.equal):
                    yield ticket, index
                    left.append((ticket, waiting))
                    break
        queues = left


def _within(limits: BatchLimits, candidates: list[Chosen]) -> tuple[list[Chosen], bool]:
    chosen: list[Chosen] = []
    largest = total = 0
    for ticket, index in candidates:
        size = ticket.items[index].size
        total, largest = total + size, max(largest, size)
        cost = largest * (len(chosen) + 1) if limits.padded else total
        if chosen and cost > limits.size:
            return chosen, True
        chosen.append((ticket, index))
        if len(chosen) >= limits.items or cost >= limits.size:
            return chosen, True
    return chosen, False
