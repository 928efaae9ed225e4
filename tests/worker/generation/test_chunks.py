"""How much of a prompt is read at once. Times are made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modeldeploy.worker.generation.chunks import Chunks

MANY = 100_000


def settled(step: float, reading: Callable[[int], float]) -> int:
    """What it comes to where a step takes so many seconds, and reading what it says."""
    chunks = Chunks()
    for _ in range(60):
        chunks.stepped(step)
        size = chunks.next(MANY, beside=True)
        chunks.read(size, reading(size))
    return chunks.next(MANY, beside=True)


def test_a_chunk_takes_a_few_steps() -> None:
    size = settled(0.05, lambda tokens: 0.03 + 0.0015 * tokens)
    assert 2.3 <= (0.03 + 0.0015 * size) / 0.05 <= 2.6


def test_where_reading_is_slow_a_chunk_is_not_so_small_that_the_prompt_never_ends() -> None:
    assert settled(0.01, lambda tokens: 0.01 * tokens) in range(31, 34)


def test_a_gpu_reads_much_at_once() -> None:
    assert settled(0.0035, lambda tokens: 0.0045 + 2e-6 * tokens) in range(2000, 2100)


@pytest.mark.parametrize(
    ("token", "size"),
    [(0.00195, 128), (0.02, 64), (2e-6, 2048)],
    ids=["a CPU", "a slow one", "a GPU"],
)
def test_where_nobody_writes_a_quarter_of_a_second_is_read_at_once(token: float, size: int) -> None:
    chunks = Chunks()
    assert chunks.next(640, beside=False) == 64
    for _ in range(60):
        chunks.read(64, token * 64)
    assert chunks.next(MANY, beside=False) == pytest.approx(size, rel=0.05)


def test_nothing_is_made_of_figures_that_there_are_not() -> None:
    chunks = Chunks()
    first = chunks.next(MANY, beside=True)
    chunks.stepped(1.0)
    assert chunks.next(MANY, beside=True) == first
    chunks.read(5, 1.0)  # a short prompt
    assert chunks.next(MANY, beside=True) == first
    chunks.read(100, 0.1)
    assert chunks.next(MANY, beside=True) in range(2000, 2100)


def test_no_small_rest_is_left() -> None:
    chunks = Chunks()
    assert [chunks.next(left, beside=True) for left in (1, 40, 64, 90, 100, 130, 200)] == [
        1,
        40,
        64,
        90,
        50,
        65,
        67,
    ]


@pytest.mark.parametrize("odd", [1.0, 30.0])
def test_one_odd_figure_is_not_believed_at_once(odd: float) -> None:
    chunks = Chunks()
    for _ in range(20):
        chunks.stepped(0.05)
        chunks.read(64, 0.1)
    before = chunks.next(MANY, beside=True)
    chunks.read(64, odd)
    for _ in range(20):
        chunks.stepped(0.05)
        chunks.read(64, 0.1)
    assert chunks.next(MANY, beside=True) >= before - 32
