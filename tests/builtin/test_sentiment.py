"""The shipped sentiment model keeps what its card says."""

from __future__ import annotations

import json

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from modeldeploy import builtin
from training.sentiment import card
from training.sentiment.evaluate import HELD_OUT, Scores, compare, model_judge, read_examples

FOLDER = builtin.path("sentiment")
MAX_BYTES = 1_500_000


@pytest.fixture(scope="module")
def compared() -> dict[str, Scores]:
    return compare(read_examples(HELD_OUT), FOLDER)


def test_four_of_five_everyday_sentences_are_read_right(compared: dict[str, Scores]) -> None:
    assert compared["model"]["all"].total == 200
    assert compared["model"]["all"].accuracy >= 0.80


@pytest.mark.parametrize("rule", ["vader", "vader_lenient"])
def test_it_beats_vader_by_ten_points(compared: dict[str, Scores], rule: str) -> None:
    assert compared["model"]["all"].accuracy >= compared[rule]["all"].accuracy + 0.10


def test_the_card_tells_the_measured_figures(compared: dict[str, Scores]) -> None:
    written = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert written == card.render(compared, FOLDER / "model.safetensors")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I love this product!", "POSITIVE"),
        ("This is terrible", "NEGATIVE"),
        ("not bad at all", "POSITIVE"),
    ],
)
def test_the_sentences_of_the_docs_come_out_as_the_docs_say(text: str, label: str) -> None:
    assert model_judge(FOLDER)([text]) == [label]


def test_it_loads_whole_and_without_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    transformers_logging.disable_progress_bar()
    try:
        _, report = AutoModelForSequenceClassification.from_pretrained(
            FOLDER, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    finally:
        transformers_logging.enable_progress_bar()
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert tokenizer.model_max_length == 128
    assert capfd.readouterr().err == ""


def test_long_texts_are_cut_to_what_the_model_can_read() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    inputs = tokenizer(["good " * 500, "bad"], padding=True, truncation=True)
    assert [len(ids) for ids in inputs["input_ids"]] == [128, 128]


def test_it_is_small_and_half_precision() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < MAX_BYTES
    assert json.loads((FOLDER / "config.json").read_text())["dtype"] == "float16"
