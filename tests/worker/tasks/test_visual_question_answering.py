from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForVisualQuestionAnswering, AutoProcessor

from modeldeploy.errors import InputTooLong, PredictionFailed, UrlNotAllowed
from tests.models import multimodal as models
from tests.models.common import encoded
from tests.models.multimodal import picture
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "visual-question-answering"
QUESTIONS = ["Where does Ada live?", "What can the model do? not bad at all", "Ada?"]


@pytest.fixture(scope="module")
def vilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.vilt(tmp_path_factory.mktemp("vilt"))


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.blip_questions(tmp_path_factory.mktemp("blip"))


def asked(question: str, seed: int = 0, size: tuple[int, int] = (24, 20)) -> Any:
    return inputs(TASK, image=encoded(picture(seed, size)), question=question)


def features(folder: Path, question: str, seed: int = 0) -> Any:
    processor = AutoProcessor.from_pretrained(folder)
    return processor(images=picture(seed), text=question, return_tensors="pt")


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_chosen_as_transformers_4_documented(vilt: Path, question: str) -> None:
    """The sigmoid of each label's logit, the best five first."""
    model = AutoModelForVisualQuestionAnswering.from_pretrained(vilt).eval()
    with torch.inference_mode():
        scores = model(**features(vilt, question)).logits.sigmoid()[0].sort(descending=True)
    found = predict(loaded(vilt, TASK), asked(question), parameters(TASK))
    assert [one.answer for one in found] == [
        model.config.id2label[int(at)] for at in scores.indices
    ]
    assert [one.score for one in found] == pytest.approx(scores.values.tolist(), abs=1e-5)


def test_a_batch_scores_as_its_items_alone(vilt: Path) -> None:
    adapter = loaded(vilt, TASK)
    several = [asked(question, seed) for seed, question in enumerate(QUESTIONS)]
    items = [adapter.pre(one, parameters(TASK))[0] for one in several]
    assert len({item.key for item in items}) == 1
    for item, raw in zip(items, adapter.core(items), strict=True):
        assert raw == pytest.approx(adapter.core([item])[0], abs=1e-5)
    wide = adapter.pre(asked("Ada?", size=(24, 16)), parameters(TASK))[0]
    assert wide.key != items[0].key, "images of other shapes are not padded into one"


def test_top_k_is_how_many_at_most(vilt: Path) -> None:
    adapter = loaded(vilt, TASK)
    assert len(predict(adapter, asked("Ada?"), parameters(TASK, top_k=2))) == 2
    assert len(predict(adapter, asked("Ada?"), parameters(TASK, top_k=1000))) == 5


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_written_answer_is_what_generate_writes(blip: Path, question: str) -> None:
    """And its score the product of its tokens' probabilities."""
    model = AutoModelForVisualQuestionAnswering.from_pretrained(blip).eval()
    processor = AutoProcessor.from_pretrained(blip)
    given = features(blip, question)
    found = model.generate(
        **given, max_new_tokens=6, return_dict_in_generate=True, output_scores=True
    )
    logs = model.text_decoder.compute_transition_scores(
        found.sequences, found.scores, normalize_logits=True
    )
    (answer,) = predict(loaded(blip, TASK), asked(question), parameters(TASK, max_new_tokens=6))
    assert answer.answer == processor.decode(found.sequences[0], skip_special_tokens=True)
    assert answer.score == pytest.approx(float(logs[0].sum().exp()), rel=1e-3)


def test_written_answers_share_a_call_where_questions_are_as_long(blip: Path) -> None:
    adapter = loaded(blip, TASK)
    how = parameters(TASK, max_new_tokens=6)
    several = [asked(QUESTIONS[0], seed) for seed in range(3)]
    items = [adapter.pre(one, how)[0] for one in several]
    assert len({item.key for item in items}) == 1
    for one, raw in zip(several, adapter.core(items), strict=True):
        (alone,) = predict(adapter, one, how)
        assert raw.answer == alone.answer
        assert raw.score == pytest.approx(alone.score, rel=1e-3)
    assert adapter.pre(asked(QUESTIONS[1]), how)[0].key != items[0].key


def test_a_question_that_is_too_long_names_both_lengths(vilt: Path) -> None:
    adapter = loaded(vilt, TASK)
    with pytest.raises(InputTooLong, match=r"\d+ tokens, the model's window is 40"):
        predict(adapter, asked("Ada " * 50), parameters(TASK))


def test_places_are_not_opened(vilt: Path) -> None:
    one = inputs(TASK, image="http://example.com/cat.png", question="What?")
    with pytest.raises(UrlNotAllowed):
        predict(loaded(vilt, TASK), one, parameters(TASK))


def test_scores_that_are_no_numbers_are_an_error(vilt: Path) -> None:
    adapter = loaded(vilt, TASK)
    adapter.model.classifier[-1].bias.fill_(float("nan"))  # type: ignore[attr-defined]  # a model adapter
    with pytest.raises(PredictionFailed):
        predict(adapter, asked("Ada?"), parameters(TASK))
