from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoImageProcessor,
    AutoModelForDocumentQuestionAnswering,
    AutoModelForImageTextToText,
    AutoTokenizer,
    pipeline,
)

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.worker.tasks import documents
from tests.models import multimodal as models
from tests.models.common import encoded
from tests.models.multimodal import picture
from tests.worker.adapters import AnyAdapter, inputs, loaded, parameters, predict

TASK = "document-question-answering"
QUESTIONS = ["What is the total?", "Where does Ada live?"]
WORDS: list[Any] = [
    ["Invoice", [60, 40, 210, 70]],
    ["Total", [60, 800, 150, 830]],
    ["London", [10, 20, 30, 40]],
    ["42", [700, 800, 740, 830]],
]


@pytest.fixture(scope="module")
def layoutlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.layoutlm(tmp_path_factory.mktemp("layoutlm"))


@pytest.fixture(scope="module")
def adapter(layoutlm: Path) -> AnyAdapter:
    return loaded(layoutlm, TASK)


@pytest.fixture(scope="module")
def whole(layoutlm: Path) -> Any:
    """transformers' own pipeline."""
    return pipeline(TASK, model=str(layoutlm))


@pytest.fixture(scope="module")
def donut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.donut(tmp_path_factory.mktemp("donut"))


def asked(question: str = QUESTIONS[0], seed: int = 0) -> Any:
    return inputs(TASK, image=encoded(picture(seed)), question=question)


def ask(adapter: AnyAdapter, question: str = QUESTIONS[0], **how: Any) -> Any:
    return predict(adapter, asked(question), parameters(TASK, **{"word_boxes": WORDS, **how}))


def _close(found: Any, expected: list[dict[str, Any]]) -> None:
    assert [(one.answer, one.start, one.end) for one in found] == [
        (one["answer"], one["start"], one["end"]) for one in expected
    ]
    assert [one.score for one in found] == pytest.approx(
        [one["score"] for one in expected], abs=1e-5
    )


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("words", [WORDS, WORDS * 20], ids=["one window", "several"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"top_k": 5},
        {"top_k": 3, "max_answer_len": 2, "handle_impossible_answer": True},
        {"max_seq_len": 32, "doc_stride": 4, "top_k": 4},
    ],
)
def test_answers_are_those_of_the_pipeline(
    adapter: AnyAdapter, whole: Any, question: str, words: Any, how: dict[str, Any]
) -> None:
    expected = whole(image=picture(), question=question, word_boxes=words, **how)
    _close(ask(adapter, question, word_boxes=words, **how), expected)


def test_a_batch_answers_as_its_items_alone(adapter: AnyAdapter) -> None:
    hows = [parameters(TASK, word_boxes=WORDS * n, top_k=3) for n in (1, 3, 9)]
    several = [adapter.pre(asked(), how) for how in hows]
    items = [item for items in several for item in items]
    assert len({item.key for item in items}) == 1
    assert len({item.size for item in items}) > 2
    raws = iter(adapter.core(items))
    for how, mine in zip(hows, several, strict=True):
        found = adapter.post([next(raws) for _ in mine], asked(), how)
        alone = predict(adapter, asked(), how)
        assert [one.answer for one in found] == [one.answer for one in alone]
        assert [one.score for one in found] == pytest.approx([one.score for one in alone], abs=1e-5)


def test_words_and_boxes_may_come_by_turns(adapter: AnyAdapter) -> None:
    turns = [part for pair in WORDS for part in pair]
    assert ask(adapter, word_boxes=turns, top_k=3) == ask(adapter, top_k=3)


def test_a_model_that_sees_the_page_is_shown_it(tmp_path: Path) -> None:
    """transformers' pipeline does not show LayoutLMv3 the page; its documentation does."""
    folder = models.layoutlmv3(tmp_path)
    adapter = loaded(folder, TASK)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words, boxes = [one[0] for one in WORDS], [one[1] for one in WORDS]
    given = tokenizer(QUESTIONS[1], words, boxes=boxes, return_tensors="pt")
    pixels = AutoImageProcessor.from_pretrained(folder, apply_ocr=False)(
        picture(), return_tensors="pt"
    )
    model = AutoModelForDocumentQuestionAnswering.from_pretrained(folder).eval()
    with torch.inference_mode():
        output = model(**given, **pixels)
    (item,) = adapter.pre(asked(QUESTIONS[1]), parameters(TASK, word_boxes=WORDS))
    for name, tensor in given.items():
        assert torch.equal(item.data.features[name], tensor), name
    (raw,) = adapter.core([item])
    length = given.input_ids.shape[1]
    assert raw.start == pytest.approx(output.start_logits[0, :length].numpy(), abs=1e-4)
    assert ask(adapter, QUESTIONS[1])[0].answer


def test_an_image_alone_needs_an_ocr(adapter: AnyAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidRequest, match=r"word_boxes: .* no OCR is installed") as refused:
        ask(adapter, word_boxes=None)
    assert "send" in refused.value.hint


def test_tesseract_reads_where_it_is_installed(
    adapter: AnyAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def read(image: Any, lang: str | None, output_type: str) -> dict[str, list[Any]]:
        heard.append((image.size, lang, output_type))
        return {
            "text": ["Total", " ", "42"],
            "left": [6, 0, 12],
            "top": [5, 0, 10],
            "width": [6, 0, 12],
            "height": [5, 0, 10],
        }

    fake = types.ModuleType("pytesseract")
    fake.image_to_data = read  # type: ignore[attr-defined]  # what we use of the package
    monkeypatch.setitem(sys.modules, "pytesseract", fake)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: fake)
    boxes = [["Total", [250, 250, 500, 500]], ["42", [500, 500, 1000, 1000]]]
    assert ask(adapter, word_boxes=None, lang="deu") == ask(adapter, word_boxes=boxes)
    assert heard == [((24, 20), "deu", "dict")]
    fake.image_to_data = lambda image, lang, output_type: 1 / 0  # type: ignore[attr-defined]  # what we use of the package
    with pytest.raises(InvalidRequest, match="Tesseract failed"):
        ask(adapter, word_boxes=None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "there is no word"),
        ([[" ", [0, 0, 1, 1]]], "there is no word"),
        (["Total"], "the last word has no box"),
        ([["Total"]], r"word_boxes\[0\]: it is not a word and its box"),
        ([WORDS[0], ["Total", [0, 0, 1]]], r"word_boxes\[1\]: a box has four numbers"),
        ([["Total", [0, 0, 2000, 1]]], "within 0 to 1000"),
        ([["Total", [500, 0, 100, 1]]], "is not left, top, right, bottom"),
        ([["Total", 1]], "not a word and its box"),
        ([["Total", [0, 0, float("nan"), 1]]], "within 0 to 1000"),
    ],
)
def test_boxes_that_are_none_are_named(given: list[Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        documents.from_word_boxes(given)


def test_what_is_too_long_names_both_lengths(adapter: AnyAdapter) -> None:
    with pytest.raises(InputTooLong, match="max_question_len is 64"):
        ask(adapter, "Ada " * 100)
    with pytest.raises(InputTooLong, match=r"takes \d+ of the 48 tokens"):
        ask(adapter, "Ada " * 60)
    with pytest.raises(InputTooLong, match="windows; the limit is"):
        ask(adapter, word_boxes=WORDS * 5000)


def test_donut_writes_its_answer(donut: Path) -> None:
    adapter = loaded(donut, TASK)
    model = AutoModelForImageTextToText.from_pretrained(donut).eval()
    tokenizer = AutoTokenizer.from_pretrained(donut)
    pixels = AutoImageProcessor.from_pretrained(donut)(picture(), return_tensors="pt").pixel_values
    prompt = f"<s_docvqa><s_question>{QUESTIONS[0]}</s_question><s_answer>"
    start = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
    row = model.generate(pixels, decoder_input_ids=start, max_new_tokens=9)[0]
    expected = tokenizer.decode(row[start.shape[1] :]).partition("</s_answer>")[0]
    (answer,) = ask(adapter, word_boxes=None, max_new_tokens=9)
    assert answer.answer == expected.replace("</s>", "").strip()
    assert 0 < answer.score < 1
    how = parameters(TASK, max_new_tokens=9)
    items = [adapter.pre(asked(seed=seed), how)[0] for seed in range(3)]
    assert len({item.key for item in items}) == 1
    together = [one.answer for one in adapter.core(items)]
    assert together == [adapter.core([item])[0].answer for item in items]
    assert len(set(together)) > 1
    with pytest.raises(InputTooLong, match="room for"):
        ask(adapter, max_new_tokens=60)


def test_donuts_answer_ends_at_its_tag(donut: Path) -> None:
    adapter: Any = loaded(donut, TASK)
    ids = AutoTokenizer.from_pretrained(donut).encode(
        " 42 <s_question></s_answer></s_answer> more", add_special_tokens=False
    )
    assert adapter._written(ids) == "42"
