"""Requests on a running batch: a tiny real model, the real loop, no HTTP."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from modeldeploy import machine
from modeldeploy.errors import InputTooLong, ModelTooLarge, PredictionFailed, QueueFull
from modeldeploy.schema.computing import Batching
from modeldeploy.schema.worker import HOST, Reserved
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.generation import engine as engine_module
from modeldeploy.worker.generation.chunks import Chunks
from modeldeploy.worker.generation.engine import Engine
from modeldeploy.worker.generation.prefixes import Prefixes
from modeldeploy.worker.generation.rows import Piece, Written
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "text-generation"
TEXTS = ["Once upon a time", "I", "Where does Ada live? What can the model do?", "not bad"]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return loaded(tiny.gpt2(tmp_path_factory.mktemp("m") / "gpt2"), TASK)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process takes does not count here: tests tell a few kB of memory."""
    monkeypatch.setattr(machine, "own_bytes", int)


def run(adapter: Any, story: Callable[[Engine], Awaitable[None]], max_queue: int = 100) -> None:
    async def tell() -> None:
        engine = adapter.front(max_queue, lambda rows: None)
        assert isinstance(engine, Engine)
        try:
            await asyncio.wait_for(story(engine), 60)
            assert engine._rows == []
            assert engine._slab.count == 0
        finally:
            engine.close()

    asyncio.run(tell())


def item(adapter: Any, text: str, **how: Any) -> Item:
    (one,) = adapter.pre(inputs(TASK, text=text), parameters(TASK, **how))
    assert isinstance(one, Item)
    return one


async def written(engine: Engine, one: Item) -> list[Written]:
    found: list[Written] = (await engine.run([one])).raws[0]
    return found


def test_company_changes_nothing_whatever_the_parameters(adapter: Any) -> None:
    hows: list[dict[str, Any]] = [
        {"max_new_tokens": 20},
        {"max_new_tokens": 7, "seed": 1, "temperature": 2.0},
        {"max_new_tokens": 15, "seed": 2, "temperature": 3.0, "top_p": 0.9},
        {"max_new_tokens": 10, "seed": 3, "num_return_sequences": 3, "top_k": 20},
    ]
    asked = list(zip(TEXTS, hows, strict=True))

    async def story(engine: Engine) -> None:
        alone = [await written(engine, item(adapter, text, **how)) for text, how in asked]
        together = await asyncio.gather(
            *(written(engine, item(adapter, text, **how)) for text, how in asked * 3)
        )
        assert together == alone * 3
        assert len({one.text for one in alone[3]}) == 3

    run(adapter, story)


def test_a_request_of_several_texts_and_sequences_is_whole(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        how = {"max_new_tokens": 5, "num_return_sequences": 3, "temperature": 2.0, "seed": 7}
        asked = [item(adapter, text, **how) for text in TEXTS]
        ticket = await engine.run(asked)
        assert [len(raw) for raw in ticket.raws] == [3] * 4
        assert ticket.left == 0

    run(adapter, story)


def test_it_writes_what_generate_writes(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        for text in TEXTS:
            one = item(adapter, text, max_new_tokens=15)
            assert await written(engine, one) == adapter.core([one])[0]

    run(adapter, story)


def test_pieces_come_one_by_one_and_are_the_text(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        pieces: list[Piece] = []
        one = item(adapter, TEXTS[0], max_new_tokens=8)
        one.sink = pieces.append
        (whole,) = await written(engine, one)
        assert "".join(piece.text for piece in pieces) == whole.text
        assert [piece.finish for piece in pieces] == [None] * 7 + ["length"]

    run(adapter, story)


def test_who_leaves_frees_the_row_and_the_others_go_on(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        expected = await written(engine, item(adapter, TEXTS[0], max_new_tokens=40))
        pieces: list[Piece] = []
        leaving = item(adapter, TEXTS[1], max_new_tokens=60)
        leaving.sink = pieces.append
        leaver = asyncio.ensure_future(engine.run([leaving]))
        stayer = asyncio.ensure_future(written(engine, item(adapter, TEXTS[0], max_new_tokens=40)))
        while len(pieces) < 3:
            await asyncio.sleep(0.001)
        leaver.cancel()
        assert await stayer == expected
        assert len(pieces) < 60
        assert leaving.dropped

    run(adapter, story)


def test_more_than_fit_wait_and_all_are_served(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        asked = [item(adapter, text, max_new_tokens=5) for text in TEXTS * 12]
        found = await asyncio.gather(*(written(engine, one) for one in asked))
        assert found == found[:4] * 12

    run(adapter, story)


def test_a_full_queue_is_refused(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        asked = [
            asyncio.ensure_future(engine.run([item(adapter, "I", max_new_tokens=30)]))
            for _ in range(40)
        ]
        results = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one for one in results if isinstance(one, QueueFull)]
        assert refused
        assert all(one.retry_after for one in refused)
        assert len(results) - len(refused) >= 3

    run(adapter, story, max_queue=3)


def test_an_error_in_the_model_ends_whom_it_befell_and_nobody_else(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        expected = await written(engine, item(adapter, TEXTS[0], max_new_tokens=5))
        forward, adapter.model.forward = adapter.model.forward, _broken
        with pytest.raises(PredictionFailed, match="it broke"):
            await engine.run([item(adapter, TEXTS[0], max_new_tokens=5)])
        adapter.model.forward = forward
        assert await written(engine, item(adapter, TEXTS[0], max_new_tokens=5)) == expected

    run(adapter, story)


@pytest.mark.parametrize("what", ["its rules", "its reader"])
def test_an_error_of_one_row_ends_that_one_alone(
    adapter: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async def story(engine: Engine) -> None:
        how = {"max_new_tokens": 12, "temperature": 2.0, "seed": 5}
        expected = await written(engine, item(adapter, TEXTS[0], **how))
        breaks, stays = item(adapter, TEXTS[1], max_new_tokens=12), item(adapter, TEXTS[0], **how)
        calls: list[Any] = []

        def third_fails(*args: Any) -> Any:
            calls.append(args)
            return args[-1] if len(calls) < 3 else _broken()

        if what == "its rules":
            rules: Any = SimpleNamespace(of=lambda *args: third_fails)
            breaks.data = replace(breaks.data, rules=rules)
        else:
            breaks.sink = third_fails
        found = await asyncio.gather(
            *(engine.run([one]) for one in (stays, breaks)), return_exceptions=True
        )
        assert isinstance(found[1], PredictionFailed)
        assert "it broke" in found[1].message
        assert not isinstance(found[0], BaseException)
        assert found[0].raws == [expected]

    run(adapter, story)


def test_where_the_first_sequence_fails_the_next_do_not_begin(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        told: list[Any] = []
        fail = engine._fail

        def heard(job: Any, failure: Any) -> None:
            told.append(str(failure.error))
            fail(job, failure)

        engine._fail = heard  # type: ignore[method-assign]
        several = item(adapter, TEXTS[0], max_new_tokens=5, num_return_sequences=3, seed=1)
        several.sink = _broken
        with pytest.raises(PredictionFailed, match="it broke"):
            await engine.run([several])
        await engine.run([item(adapter, TEXTS[1], max_new_tokens=3)])
        assert len(told) == 1, told

    run(adapter, story)


def _broken(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("it broke")


def test_what_prompts_begin_with_is_read_once(adapter: Any) -> None:
    system = "The answer is kept short, and Ada is always right. Once "
    texts = [system + "ten", system + "not", system + "ten", "not " + system]
    read: list[int] = []

    async def story(engine: Engine) -> None:
        original = engine._slab.read

        def seen(cache: Any, ids: list[int], done: int) -> Any:
            read.append(len(ids))
            return original(cache, ids, done)

        engine._slab.read = seen  # type: ignore[method-assign]
        for text in texts:
            (found,) = await written(engine, item(adapter, text, max_new_tokens=8))
            (alone,) = predict(adapter, inputs(TASK, text=text), how)
            assert found.text == alone.generated_text

    how = parameters(TASK, max_new_tokens=8, return_full_text=False)
    run(adapter, story)
    lengths = [len(item(adapter, text).data.ids) for text in texts]
    assert read[0] == lengths[0]
    assert read[1] < 20
    assert read[2] == 1
    assert read[3] == lengths[3]


def _empty() -> Any:
    cache = DynamicCache()
    cache.layers = [DynamicLayer()]
    return cache


def _cache(count: int) -> Any:
    cache = DynamicCache()
    cache.update(torch.ones(1, 2, count, 4), torch.ones(1, 2, count, 4), 0)
    return cache


def test_kept_prompts_stay_within_their_memory() -> None:
    one = 2 * 2 * 40 * 4 * 4  # bytes
    prefixes = Prefixes(3 * one)
    prompts = [[n] * 40 for n in range(4)]
    for ids in prompts[:3]:
        prefixes.keep(ids, _cache(40), _empty)
    cache, read = prefixes.start([*prompts[0], 7], _empty)
    assert (read, cache.get_seq_length()) == (40, 40)
    prefixes.keep(prompts[3], _cache(40), _empty)
    assert prefixes.start([*prompts[0], 7], _empty)[1] == 40
    assert prefixes.start([*prompts[1], 7], _empty)[1] == 0  # of no use for the longest
    prefixes.keep([9] * 31, _cache(31), _empty)
    assert prefixes.start([9] * 32, _empty)[1] == 0
    assert prefixes.start(prompts[3], _empty)[1] == 39  # its last token is read again


def test_of_a_prompt_that_is_too_long_its_beginning_is_kept() -> None:
    one = 2 * 2 * 40 * 4 * 4  # bytes
    prefixes, long = Prefixes(3 * one), DynamicCache()
    long.update(torch.rand(1, 2, 400, 4), torch.rand(1, 2, 400, 4), 0)
    for _ in range(2):
        prefixes.keep([5] * 400, long, _empty)
    assert prefixes.bytes == 60 * one // 40
    cache, read = prefixes.start([*[5] * 70, 7], _empty)
    assert (read, cache.get_seq_length()) == (60, 60)
    assert torch.equal(cache.layers[0].keys, long.layers[0].keys[:, :, :60])
    ((_, kept, _),) = prefixes._kept.values()
    assert kept.layers[0].keys.untyped_storage().nbytes() == kept.layers[0].keys.nbytes
    small = Prefixes(one)
    small.keep([5] * 400, long, _empty)
    assert not small._kept, "no more than 20 would have room"


def test_threads_are_changed_where_the_model_computes_while_it_writes(adapter: Any) -> None:
    before = torch.get_num_threads()

    async def story(engine: Engine) -> None:
        in_loop = torch.get_num_threads()
        alone = await written(engine, item(adapter, TEXTS[0], max_new_tokens=40))
        writing = asyncio.ensure_future(written(engine, item(adapter, TEXTS[0], max_new_tokens=40)))
        for count in (3, 1, 2):
            await asyncio.wrap_future(engine.between(partial(adapter.use_threads, count)))
            seen = await asyncio.wrap_future(engine.between(torch.get_num_threads))
            assert seen == count
        assert torch.get_num_threads() == in_loop, "OpenMP's number is each thread's own"
        assert [one.text for one in await writing] == [one.text for one in alone]

    try:
        run(adapter, story)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("fixed", "new", "most"),
    [
        ({"max_size": 2}, 10, 2),
        ({"max_tokens": 40}, 10, 2),
        ({"max_size": 18}, 40, 18),
        ({"max_size": 18, "max_tokens": 140}, 40, 3),
    ],
)
def test_a_deployment_says_how_many_write_at_a_time(
    adapter: Any, fixed: dict[str, int], new: int, most: int
) -> None:
    rows: list[int] = []

    async def tell() -> None:
        engine = adapter.front(100, rows.append, Batching(**fixed, window=10.0))
        try:
            one = len(item(adapter, TEXTS[0]).data.ids) + new
            tokens = fixed.get("max_tokens", most * one)
            assert most * one <= tokens < (most + 1) * one
            asked = [item(adapter, TEXTS[0], max_new_tokens=new) for _ in range(2 * most + 1)]
            await asyncio.wait_for(asyncio.gather(*(written(engine, one) for one in asked)), 9)
        finally:
            engine.close()

    asyncio.run(tell())
    assert max(rows) == most


def test_what_there_is_no_memory_for_is_refused_and_told_of(
    adapter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "memory", 4 * 572 * adapter._place_bytes)

    async def story(engine: Engine) -> None:
        assert "16 texts and 500 tokens" in engine.calls
        few = {"max_new_tokens": 10, "temperature": 1.0}
        item(adapter, TEXTS[0], num_return_sequences=4, **few)
        with pytest.raises(InputTooLong, match="there is memory for 500"):
            item(adapter, TEXTS[0], num_return_sequences=64, **few)

    run(adapter, story)
    adapter._most_places = None


def test_what_is_held_stays_within_the_memory_whoever_comes(
    adapter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "memory", 4 * 343 * adapter._place_bytes)
    peaks: list[int] = []

    async def story(engine: Engine) -> None:
        original = engine._slab.step

        def seen(tokens: list[int]) -> Any:
            logits = original(tokens)
            rows, columns = engine._slab.room  # type: ignore[attr-defined]  # it is torch's
            reading = sum(len(job.prompt.ids) for job in engine._held)
            peaks.append(rows * columns + reading)
            return logits

        engine._slab.step = seen  # type: ignore[method-assign]
        asked = [
            item(adapter, text * times, max_new_tokens=new)
            for text, times, new in zip(
                TEXTS * 3, [1, 1, 2, 6] * 3, [50, 4, 30, 9] * 3, strict=True
            )
        ]
        alone = [await written(engine, one) for one in asked[:4]]
        assert await asyncio.gather(*(written(engine, one) for one in asked)) == alone * 3

    run(adapter, story)
    assert 150 < max(peaks) <= adapter._most_places == 300
    adapter._most_places = None


def test_what_was_read_is_held_once_while_it_is_written_on(adapter: Any) -> None:
    alive: list[weakref.ref[Any]] = []

    async def story(engine: Engine) -> None:
        empty = engine._slab.empty

        def seen() -> Any:
            cache = empty()
            alive.append(weakref.ref(cache))
            return cache

        engine._slab.empty = seen  # type: ignore[method-assign]
        pieces: list[Piece] = []
        one = item(adapter, TEXTS[1], max_new_tokens=40)
        one.sink = pieces.append
        writing = asyncio.ensure_future(written(engine, one))
        while len(pieces) < 3:
            await asyncio.sleep(0.001)
        gc.collect()
        assert not engine._prefixes._kept
        assert [cache() for cache in alive] == [None]
        await writing
        del engine._slab.empty

    run(adapter, story)


def test_who_fits_passes_one_who_does_not_but_not_for_ever(adapter: Any) -> None:
    order: list[str] = []

    async def ask(engine: Engine, name: str, new: int) -> None:
        await written(engine, item(adapter, TEXTS[1], max_new_tokens=new))
        order.append(name)

    async def tell() -> None:
        engine = adapter.front(100, lambda rows: None, Batching(max_size=2, max_tokens=100))
        try:
            asked = [asyncio.create_task(ask(engine, "long", 48))]
            await asyncio.sleep(0)
            asked.append(asyncio.create_task(ask(engine, "large", 60)))
            await asyncio.sleep(0)
            asked += [asyncio.create_task(ask(engine, "short", 2)) for _ in range(30)]
            await asyncio.wait_for(asyncio.gather(*asked), 60)
        finally:
            engine.close()

    asyncio.run(tell())
    passed = order[: order.index("large")].count("short")
    assert 0 < passed <= engine_module._MOST_PASS + 1  # one may have gone in with the long one


def test_one_long_list_does_not_pass_one_who_does_not_fit_for_ever(adapter: Any) -> None:
    order: list[str] = []

    def asked(name: str, new: int) -> Item:
        one = item(adapter, TEXTS[1], max_new_tokens=new)
        one.sink = lambda piece: order.append(name)
        return one

    async def tell() -> None:
        engine = adapter.front(100, lambda rows: None, Batching(max_size=2, max_tokens=100))
        try:
            running = [asyncio.create_task(engine.run([asked("long", 48)]))]
            await asyncio.sleep(0)
            running.append(asyncio.create_task(engine.run([asked("large", 60)])))
            await asyncio.sleep(0)
            many = [asked("one of many", 1) for _ in range(60)]
            running.append(asyncio.create_task(engine.run(many)))
            await asyncio.wait_for(asyncio.gather(*running), 60)
        finally:
            engine.close()

    asyncio.run(tell())
    passed = order[: order.index("large")].count("one of many")
    assert 0 < passed <= engine_module._MOST_PASS + 1


def test_a_long_prompt_joins_others_a_step_after_its_last_part(
    adapter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Chunks, "next", lambda self, left, *, beside: min(left, 4))
    events: list[str] = []

    async def story(engine: Engine) -> None:
        long = item(adapter, TEXTS[2], max_new_tokens=5)
        alone = await written(engine, long)
        for name in ("read", "join", "step"):
            original = getattr(engine._slab, name)

            def seen(*given: Any, name: str = name, original: Any = original) -> Any:
                events.append(name)
                return original(*given)

            monkeypatch.setattr(engine._slab, name, seen)
        pieces: list[Piece] = []
        other = item(adapter, TEXTS[1], max_new_tokens=40)
        other.sink = pieces.append
        writing = asyncio.ensure_future(written(engine, other))
        while len(pieces) < 2:
            await asyncio.sleep(0.001)
        events.clear()
        engine._prefixes._kept.clear()
        found = await written(engine, item(adapter, TEXTS[2], max_new_tokens=5))
        assert [one.text for one in found] == [one.text for one in alone]
        await writing

    run(adapter, story)
    last = len(events) - 1 - events[::-1].index("read")
    assert events[last - 2 : last + 3] == ["read", "step", "read", "step", "join"]


def test_what_texts_may_still_take_is_reserved(
    adapter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "memory", 4 * (most := 1500 * adapter._place_bytes))
    seen: list[tuple[int, int]] = []

    async def story(engine: Engine) -> None:
        original = engine._slab.step

        def step(tokens: list[int]) -> Any:
            seen.append((adapter.reserved[HOST], engine._slab.held))
            return original(tokens)

        monkeypatch.setattr(engine._slab, "step", step)
        await asyncio.gather(*(written(engine, item(adapter, one)) for one in TEXTS * 3))
        held = most - adapter._place_bytes * max(places for _, places in seen)
        assert min(still for still, _ in seen) == held < most
        assert adapter.reserved[HOST] == most, "room was given back"
        await written(engine, item(adapter, TEXTS[2] * 3))
        kept = len(item(adapter, TEXTS[2] * 3).data.ids)
        held = (engine._slab.held + kept) * adapter._place_bytes
        assert adapter.reserved[HOST] == most - held, "its prompt is kept"

    run(adapter, story)
    adapter._most_places = None


def test_no_more_is_reserved_than_all_rows_of_a_window_could_take(
    adapter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory_available", lambda: 10**15)
    all_rows = 16 * adapter.tokens.window * adapter._place_bytes

    async def story(engine: Engine) -> None:
        assert 4 * all_rows < adapter._kept_bytes < 5 * all_rows  # with prompts that are kept
        assert adapter.reserved[HOST] <= adapter._kept_bytes
        many = {"num_return_sequences": 64, "max_new_tokens": 50, "temperature": 1.0}
        assert item(adapter, TEXTS[0], **many).size > 64 * 50, "there is memory for it"

    run(adapter, story)
    adapter._most_places = None


def test_a_model_that_has_no_room_beside_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory_available", lambda: 5 * 10**9)
    model = tiny.gpt2(tmp_path / "m")
    loaded(model, TASK)
    full = Reserved(bytes={HOST: 5 * 10**9}, writers=1)
    with pytest.raises(ModelTooLarge, match=r"keys and values of 0 tokens; .* take 5\.0 GB"):
        loaded(model, TASK, reserved=full)
