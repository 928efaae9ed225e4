from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from modeldeploy.errors import InputTooLong, InvalidRequest, PredictionFailed
from modeldeploy.worker.adapter import Adapter
from modeldeploy.worker.tasks.question_answering import Logits
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "question-answering"
SHORT = "Ada moved from Paris to London, where she lives with her sister."
LONG = " ".join(f"{SHORT} Sister {n} moved to a small model." for n in range(12))
QUESTION = "Where does Ada live?"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.question_answering(tmp_path_factory.mktemp("qa"))


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Adapter[Any, Any]:
    return loaded(snapshot, TASK)


def _softmax(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    powers = np.exp(values - values.max())
    return powers / powers.sum()  # type: ignore[no-any-return]  # numpy's sum is Any


def _by_brute_force(
    snapshot: Path, context: str, overlap: int, max_len: int
) -> tuple[dict[tuple[int, int], float], float]:
    """Every span's best score over transformers' own windows, by character offsets; and the null."""
    model = AutoModelForQuestionAnswering.from_pretrained(snapshot).eval()
    tokenizer = AutoTokenizer.from_pretrained(snapshot)
    windows = tokenizer(
        QUESTION,
        context,
        truncation="only_second",
        max_length=64,
        stride=overlap,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    best: dict[tuple[int, int], float] = {}
    null = 1.0
    for at in range(len(windows["input_ids"])):
        ids = torch.tensor([windows["input_ids"][at]])
        with torch.inference_mode():
            out = model(ids)
        tokens = [n for n, s in enumerate(windows.sequence_ids(at)) if s == 1]
        kept = [0, *tokens]
        start = dict(zip(kept, _softmax(out.start_logits[0].numpy()[kept]), strict=True))
        end = dict(zip(kept, _softmax(out.end_logits[0].numpy()[kept]), strict=True))
        null = min(null, float(start[0] * end[0]))
        for first, last in itertools.combinations_with_replacement(tokens, 2):
            if last - first < max_len:
                offsets = windows["offset_mapping"][at]
                place = (offsets[first][0], offsets[last][1])
                best[place] = max(best.get(place, 0.0), float(start[first] * end[last]))
    return best, null


@pytest.mark.parametrize("context", [SHORT, LONG], ids=["one window", "many windows"])
@pytest.mark.parametrize("max_len", [1, 4, 15])
def test_the_answer_is_the_best_of_all_spans(
    adapter: Adapter[Any, Any], snapshot: Path, context: str, max_len: int
) -> None:
    expected, _ = _by_brute_force(snapshot, context, 16, max_len)
    one = inputs(TASK, question=QUESTION, context=context)
    how = parameters(TASK, max_answer_len=max_len, doc_stride=16)
    found = predict(adapter, one, how)
    assert found.answer == context[found.start : found.end]
    assert found.score == pytest.approx(max(expected.values()), rel=1e-4)
    (left, right), _ = max(expected.items(), key=lambda place: place[1])
    # Widened to whole words, so it holds the best span and no more than its words.
    assert found.start <= left < right <= found.end
    assert " " not in context[found.start : left] + context[right : found.end]


def test_windows_overlap_as_asked_and_miss_nothing(adapter: Adapter[Any, Any]) -> None:
    one = inputs(TASK, question=QUESTION, context=LONG)
    items = adapter.pre(one, parameters(TASK, doc_stride=10))
    assert len(items) > 3
    assert all(item.size <= 64 for item in items)
    ends = [item.data.first + item.data.context.stop - item.data.context.start for item in items]
    begins = [item.data.first for item in items]
    for end, begin in zip(ends[:-1], begins[1:], strict=True):
        assert end - begin == 10


def test_windows_in_a_batch_score_as_alone(adapter: Adapter[Any, Any]) -> None:
    items = adapter.pre(inputs(TASK, question=QUESTION, context=LONG), parameters(TASK))
    for item, raw in zip(items, adapter.core(items), strict=True):
        alone = adapter.core([item])[0]
        assert raw.start == pytest.approx(alone.start, abs=1e-5)
        assert raw.end == pytest.approx(alone.end, abs=1e-5)


def test_several_answers_are_different_and_sorted(adapter: Adapter[Any, Any]) -> None:
    one = inputs(TASK, question=QUESTION, context=LONG)
    found = predict(adapter, one, parameters(TASK, top_k=5))
    assert len(found) == 5
    assert len({answer.answer.casefold() for answer in found}) == 5
    assert [a.score for a in found] == sorted((a.score for a in found), reverse=True)


def test_no_answer_competes_when_asked(adapter: Adapter[Any, Any], snapshot: Path) -> None:
    _, null = _by_brute_force(snapshot, SHORT, 16, 15)
    how = parameters(TASK, top_k=100, handle_impossible_answer=True)
    found = predict(adapter, inputs(TASK, question=QUESTION, context=SHORT), how)
    empty = [answer for answer in found if not answer.answer]
    assert [(a.start, a.end) for a in empty] == [(0, 0)]
    assert empty[0].score == pytest.approx(null, rel=1e-4)


def test_offsets_count_characters_of_any_script(adapter: Adapter[Any, Any]) -> None:
    context = "Ünïcödé 你好 😀 Ada lives 😀 here"
    for answer in predict(
        adapter, inputs(TASK, question="x?", context=context), parameters(TASK, top_k=9)
    ):
        assert context[answer.start : answer.end] == answer.answer


@pytest.mark.parametrize(
    ("fields", "how", "error"),
    [
        ({"question": "where " * 70}, {}, InputTooLong),
        ({"question": "where " * 62}, {"max_question_len": 100}, InputTooLong),
        ({"context": "   "}, {}, InvalidRequest),
        ({"context": "a " * 100_000}, {}, InputTooLong),
        ({"context": "a" * 2_000_001}, {}, InputTooLong),
    ],
)
def test_what_cannot_be_read_is_refused(
    adapter: Adapter[Any, Any], fields: dict[str, str], how: dict[str, int], error: type[Exception]
) -> None:
    one = inputs(TASK, **{"question": QUESTION, "context": SHORT, **fields})
    with pytest.raises(error):
        adapter.pre(one, parameters(TASK, **how))


def test_an_answer_ends_at_words_or_as_asked_at_tokens(adapter: Adapter[Any, Any]) -> None:
    context = "Ada unbelievably won."
    asked = inputs(TASK, question=QUESTION, context=context)
    (item,) = adapter.pre(asked, parameters(TASK))
    whole = item.data.whole
    inside = [at for at, word in enumerate(whole.words) if word == 1 and whole.sequence[at] == 1]
    assert len(inside) > 2, "a word of several tokens"
    logits = np.full(len(item.data.encoded), -9.0, np.float32)
    logits[inside[1]] = 9.0
    raw = Logits(item.data, logits, logits)
    found = {
        words: adapter.post([raw], asked, parameters(TASK, align_to_words=words))
        for words in (True, False)
    }
    assert found[True].answer == "unbelievably"
    assert found[False].answer == context[slice(*whole.offsets[inside[1]])]
    assert context[found[False].start : found[False].end] == found[False].answer


def test_one_window_without_numbers_is_an_error(adapter: Adapter[Any, Any]) -> None:
    asked, how = inputs(TASK, question=QUESTION, context=LONG), parameters(TASK)
    raws = [raw for item in adapter.pre(asked, how) for raw in adapter.core([item])]
    assert len(raws) > 1
    raws[1].start[:] = np.nan
    with pytest.raises(PredictionFailed, match="not numbers"):
        adapter.post(raws, asked, how)
