"""Who is read and written before whom: small requests beside large ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import torch
import transformers

from modeldeploy.worker.adapter import Item
from modeldeploy.worker.generation.engine import Engine
from modeldeploy.worker.generation.rows import Prompt
from modeldeploy.worker.generation.sampling import Sampling
from modeldeploy.worker.generation.slab import Slab

MOST = 16


class Counted(Slab):
    """Tells what it read, and how many steps it made."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.parts: list[int] = []
        self.steps = 0
        self.most = 0  # rows

    def read(self, cache: Any, ids: list[int], done: int) -> torch.Tensor:
        self.parts.append(len(ids))
        return super().read(cache, ids, done)

    def step(self, tokens: list[int]) -> torch.Tensor:
        self.steps += 1
        self.most = max(self.most, self.count)
        return super().step(tokens)


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def run(
    model: Any, story: Callable[[Engine], Awaitable[None]], places: int = 10**6, most: int = 10**6
) -> None:
    async def tell() -> None:
        engine = Engine(Counted(model), _text, frozenset(), MOST, most, places, 0, 2000)
        try:
            await asyncio.wait_for(story(engine), 60)
        finally:
            engine.close()

    asyncio.run(tell())


def _text(ids: Any) -> str:
    return " ".join(map(str, ids))


def asked(read: int, new: int, sequences: int = 1, first: int = 5) -> Item:
    ids = [first + at * 7 % 300 for at in range(read)]
    sampling = Sampling(temperature=None if sequences == 1 else 1.0)
    return Item(Prompt(ids, new, sampling, sequences, seed=1), (read + new) * sequences)


async def until(what: Callable[[], Any]) -> None:
    while not what():
        await asyncio.sleep(0)


def test_who_left_while_a_long_prompt_was_read_is_read_no_further(model: Any) -> None:
    async def story(engine: Engine) -> None:
        slab: Any = engine._slab
        leaver = asyncio.ensure_future(engine.run([asked(8000, 4)]))
        await until(lambda: len(slab.parts) > 1)
        leaver.cancel()
        await engine.run([asked(4, 1)])
        assert slab.parts[0] == 64
        assert sum(slab.parts) < 8000

    run(model, story)


def test_a_short_prompt_is_read_before_what_is_left_of_a_long_one(model: Any) -> None:
    async def story(engine: Engine) -> None:
        slab: Any = engine._slab
        long = asyncio.ensure_future(engine.run([asked(8000, 4)]))
        await until(lambda: len(slab.parts) > 1)
        middle = asyncio.ensure_future(engine.run([asked(2000, 4)]))
        await until(lambda: len(engine._reading) == 2)
        await engine.run([asked(4, 1)])
        assert not middle.done()
        await middle
        assert not long.done()
        alone = (await long).raws
        again = await engine.run([asked(8000, 4)])
        assert [one[0].text for one in alone] == [one[0].text for one in again.raws]

    run(model, story)


def test_a_long_prompt_waits_for_no_more_tokens_than_it_has(model: Any) -> None:
    async def story(engine: Engine) -> None:
        slab: Any = engine._slab
        long = asyncio.ensure_future(engine.run([asked(4000, 1)]))
        await until(lambda: slab.parts)
        others = [asyncio.ensure_future(engine.run([asked(500, 1)])) for _ in range(30)]
        await long
        first = [one for one in others if one.done()]
        assert 4 <= len(first) <= 9  # eight, and one that was told in the same turn of the loop
        await asyncio.gather(*others)

    run(model, story)


def test_prompts_and_rows_stay_within_the_memory(model: Any) -> None:
    async def story(engine: Engine) -> None:
        slab: Any = engine._slab
        peaks: list[int] = []
        read, step = slab.read, slab.step

        def seen(act: Callable[..., Any], *args: Any) -> Any:
            held = sum(len(job.prompt.ids) for job in engine._held)
            peaks.append(held + slab.room[0] * slab.room[1])
            return act(*args)

        slab.read, slab.step = partial(seen, read), partial(seen, step)
        jobs = [engine.run([asked(read, 5)]) for read in (2500, 1200, 600, 300, 100, 20, 4) * 2]
        jobs += [engine.run([asked(read, 5, 20)]) for read in (300, 20)]
        await asyncio.gather(*jobs)
        assert 2600 < max(peaks) <= 9000

    run(model, story, places=9000)


@pytest.mark.parametrize("sequences", [1, 64])
def test_one_large_request_leaves_rows_to_small_ones(model: Any, sequences: int) -> None:
    async def story(engine: Engine) -> None:
        slab: Any = engine._slab
        many = [asked(8, 400, sequences, first) for first in range(200 // sequences)]
        large = asyncio.ensure_future(engine.run(many))
        await until(lambda: len(engine._rows) == MOST - 2)
        for _ in range(20):
            before = slab.steps
            await engine.run([asked(8, 4)])
            assert slab.steps - before < 10
        assert not large.done()
        large.cancel()
        assert slab.most == MOST - 1

    run(model, story)


@pytest.mark.parametrize(("sequences", "most"), [(14, 14), (40, 14)])
def test_sequences_join_as_they_find_room_and_are_what_they_are_alone(
    model: Any, sequences: int, most: int
) -> None:
    async def story(engine: Engine) -> None:
        slab: Any = engine._slab
        alone = (await engine.run([asked(40, 12, 5)])).raws[0]
        found = (await engine.run([asked(40, 12, sequences)])).raws[0]
        assert [one.text for one in found[:5]] == [one.text for one in alone]
        assert len({one.text for one in found}) == sequences
        assert slab.most == most

    run(model, story)


def test_sequences_that_are_too_many_for_the_memory_are_written_one_after_another(
    model: Any,
) -> None:
    async def story(engine: Engine) -> None:
        slab: Any = engine._slab
        large = asyncio.ensure_future(engine.run([asked(40, 20, 4)]))
        await until(lambda: engine._joining)
        await engine.run([asked(10, 20)])
        assert len((await large).raws[0]) == 4
        assert slab.most == 2

    run(model, story, most=130)


def test_two_large_requests_and_small_ones_are_all_served(model: Any) -> None:
    async def story(engine: Engine) -> None:
        large = [engine.run([asked(30, 20, 3, first) for first in range(12)]) for _ in range(2)]
        small = [engine.run([asked(8, 4)]) for _ in range(30)]
        found = await asyncio.gather(*large, *small)
        assert all(not one.left for one in found)

    run(model, story, places=1500)


def test_as_many_sequences_as_there_are_rows_are_written_at_once(model: Any) -> None:
    async def story(engine: Engine) -> None:
        slab: Any = engine._slab
        await engine.run([asked(8, 20, MOST)])
        assert slab.most == MOST
        assert slab.steps == 19

    run(model, story)


def test_small_requests_do_not_take_the_rows_of_a_large_one(model: Any) -> None:
    """However many come, it goes on with the rows that are not kept from it."""

    async def story(engine: Engine) -> None:
        slab: Any = engine._slab
        large = asyncio.ensure_future(engine.run([asked(8, 60) for _ in range(70)]))  # noqa: RUF006  # it is awaited
        await until(lambda: slab.steps)
        await asyncio.gather(large, *(_goes_on(engine, large) for _ in range(12)))
        assert slab.steps < 1000  # alone it takes five waves of 60

    run(model, story)


async def _goes_on(engine: Engine, until_done: asyncio.Future[Any]) -> None:
    while not until_done.done():
        await engine.run([asked(4, 40)])
