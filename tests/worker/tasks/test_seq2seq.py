from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from modeldeploy.errors import InputTooLong, InvalidRequest, PredictionFailed, WrongTask
from modeldeploy.schema.tasks.seq2seq import GenerateParameters
from tests.models import seq2seq as models
from tests.models import tiny
from tests.worker.adapters import AnyAdapter, inputs, loaded, parameters, predict

TASK = "text2text-generation"
TEXTS = ["Ada moved from Paris", "I love this product! What can the model do? ten", "London"]


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.bart(tmp_path_factory.mktemp("bart"))


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.t5(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def adapter(bart: Path) -> AnyAdapter:
    return loaded(bart, TASK)


def ask(adapter: AnyAdapter, text: str, task: str = TASK, **how: Any) -> str:
    found = predict(adapter, inputs(task, text=text), parameters(task, **how))
    (answer,) = (getattr(found, name) for name in found.__struct_fields__[:1])
    return str(answer)


def written(snapshot: Path, text: str, **how: Any) -> str:
    """What transformers itself writes."""
    model = AutoModelForSeq2SeqLM.from_pretrained(snapshot).eval()
    tokenizer = AutoTokenizer.from_pretrained(snapshot)
    ids = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    row = model.generate(**ids, **how)[0]
    return str(tokenizer.decode(row, skip_special_tokens=True))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "how",
    [
        {"max_new_tokens": 12, "num_beams": 1},
        {"max_new_tokens": 9, "num_beams": 3, "length_penalty": 2.0, "early_stopping": True},
        {"max_length": 10, "min_length": 6, "num_beams": 2, "no_repeat_ngram_size": 2},
        {"max_new_tokens": 15, "num_beams": 1, "repetition_penalty": 1.5, "min_new_tokens": 5},
    ],
)
def test_the_text_is_what_generate_writes(
    adapter: AnyAdapter, bart: Path, text: str, how: dict[str, Any]
) -> None:
    assert ask(adapter, text, **how) == written(bart, text, **how)


@pytest.mark.parametrize("beams", [1, 3])
def test_company_and_its_lengths_do_not_change_the_text(adapter: AnyAdapter, beams: int) -> None:
    how = parameters(TASK, max_new_tokens=14, num_beams=beams, no_repeat_ngram_size=2)
    asked = [inputs(TASK, text=text) for text in TEXTS]
    items = [adapter.pre(one, how)[0] for one in asked]
    assert len({item.key for item in items}) == 1
    raws = adapter.core(items)
    assert len({len(raw.written.ids) for raw in raws}) == 3, "rows end at different places"
    for one, raw in zip(asked, raws, strict=True):
        assert adapter.post([raw], one, how) == predict(adapter, one, how)


def test_with_nothing_said_it_is_as_transformers_4_documented(
    adapter: AnyAdapter, bart: Path
) -> None:
    """256 new tokens, here as many as there are positions, and four beams."""
    assert ask(adapter, TEXTS[0]) == written(bart, TEXTS[0], num_beams=4, max_new_tokens=63)


def test_the_models_own_settings_hold_where_nothing_is_said(bart: Path, tmp_path: Path) -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(bart)
    model.generation_config.update(num_beams=2, max_length=11, min_length=8, length_penalty=2.0)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(bart).save_pretrained(tmp_path)
    adapter = loaded(tmp_path, TASK)
    for text in TEXTS:
        assert ask(adapter, text) == written(tmp_path, text)
    short = ask(adapter, TEXTS[1], max_new_tokens=3)
    assert short == written(bart, TEXTS[1], num_beams=2, max_new_tokens=3, min_length=3)


def test_a_summary_is_written_as_the_models_config_says(t5: Path) -> None:
    adapter = loaded(t5, "summarization")
    how = {"num_beams": 2, "max_length": 12, "min_length": 4, "no_repeat_ngram_size": 2}
    for text in TEXTS:
        assert ask(adapter, text, "summarization") == written(t5, "summarize: " + text, **how)
    other = ask(adapter, TEXTS[1], "summarization", num_beams=1, max_length=7)
    assert other == written(
        t5, "summarize: " + TEXTS[1], **{**how, "num_beams": 1, "max_length": 7}
    )
    assert ask(loaded(t5, TASK), TEXTS[1], num_beams=1, max_new_tokens=8) == written(
        t5, TEXTS[1], max_new_tokens=8
    )


def test_generate_parameters_are_the_same_in_an_object(adapter: AnyAdapter) -> None:
    nested = GenerateParameters(max_new_tokens=7, num_beams=2)
    assert ask(adapter, TEXTS[1], generate_parameters=nested) == ask(
        adapter, TEXTS[1], max_new_tokens=7, num_beams=2
    )
    assert ask(adapter, TEXTS[1], generate_parameters=nested, num_beams=1) == ask(
        adapter, TEXTS[1], max_new_tokens=7, num_beams=1
    )


def test_a_seed_repeats_and_another_does_not(adapter: AnyAdapter) -> None:
    how: dict[str, Any] = {
        "temperature": 8.0,
        "top_k": 0,
        "max_new_tokens": 20,
        "min_new_tokens": 20,
    }
    first = ask(adapter, TEXTS[0], seed=1, **how)
    torch.rand(7)
    assert ask(adapter, TEXTS[0], seed=1, **how) == first
    assert ask(adapter, TEXTS[0], seed=2, **how) != first
    assert ask(adapter, TEXTS[0], **how) != first
    one = inputs(TASK, text="x")
    keys = {adapter.pre(one, parameters(TASK, seed=1, **how))[0].key for _ in "ab"}
    assert len(keys) == 2, "seeded requests run alone"
    greedy = {adapter.pre(one, parameters(TASK, seed=seed))[0].key for seed in (1, 2)}
    assert len(greedy) == 1, "without sampling a seed means nothing"


def test_a_seeded_request_leaves_the_others_random_numbers_alone(adapter: AnyAdapter) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ask(adapter, TEXTS[0], seed=1, temperature=2.0, max_new_tokens=3)
    assert torch.equal(torch.rand(3), expected)


def test_temperature_zero_is_greedy(adapter: AnyAdapter) -> None:
    cold = ask(adapter, TEXTS[1], temperature=0, num_beams=1, max_new_tokens=9)
    assert cold == ask(adapter, TEXTS[1], num_beams=1, max_new_tokens=9)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_stop_string_ends_the_text_and_is_cut(adapter: AnyAdapter, beams: int) -> None:
    how: dict[str, Any] = {
        "num_beams": beams,
        "max_new_tokens": 30,
        "repetition_penalty": 1.5,
        "min_length": 30,
    }
    whole = ask(adapter, TEXTS[1], **how)
    stop = whole[4:8]
    cut = ask(adapter, TEXTS[1], stop=["zzz", stop], **how)
    if beams == 1:
        assert cut == whole[: whole.index(stop)]
        item = adapter.pre(inputs(TASK, text=TEXTS[1]), parameters(TASK, stop=stop, **how))[0]
        assert len(adapter.core([item])[0].written.ids) < 30, "the work behind it is saved"
    assert stop not in cut


@pytest.mark.parametrize("beams", [1, 3])
def test_a_dropped_item_stops_and_the_others_go_on(adapter: AnyAdapter, beams: int) -> None:
    how = parameters(TASK, max_new_tokens=30, min_new_tokens=30, num_beams=beams)
    items = [adapter.pre(inputs(TASK, text=text), how)[0] for text in TEXTS[:2]]
    items[0].dropped = True
    raws = adapter.core(items)
    one = inputs(TASK, text=TEXTS[1])
    assert adapter.post([raws[1]], one, how) == predict(adapter, one, how)
    steps = 0

    def leave_after_three(*_: Any, **__: Any) -> None:
        nonlocal steps
        steps += 1
        items[1].dropped = steps >= 3

    hook = adapter.model.model.decoder.register_forward_hook(leave_after_three)  # type: ignore[attr-defined]  # a model adapter
    try:
        adapter.core([items[1]])
    finally:
        hook.remove()
    assert steps <= 4


def test_a_long_text_is_cut_only_when_asked_to(adapter: AnyAdapter) -> None:
    long = "Once upon a time " * 40
    with pytest.raises(InputTooLong, match=r"tokens, the model's window is 64"):
        ask(adapter, long)
    with pytest.raises(InputTooLong):
        ask(adapter, long, truncation="only_second")
    cut = ask(adapter, long, truncate=True, max_new_tokens=5)
    assert cut == ask(adapter, long, truncation="only_first", max_new_tokens=5)
    assert (
        len(adapter.pre(inputs(TASK, text=long), parameters(TASK, truncate=True))[0].data.encoded)
        == 64
    )


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"max_new_tokens": 64}, "64 new tokens are asked for.*room for 63"),
        ({"max_length": 1}, "max_length is 1"),
        ({"max_new_tokens": 5, "min_length": 20}, "min_length: at least 19 .* at most 5"),
    ],
)
def test_lengths_that_cannot_be_are_refused(
    adapter: AnyAdapter, how: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        ask(adapter, "London", **how)


def test_an_empty_text_is_a_text(adapter: AnyAdapter, bart: Path) -> None:
    assert ask(adapter, "", num_beams=1, max_new_tokens=4) == written(bart, "", max_new_tokens=4)


def test_logits_that_are_no_numbers_are_an_error(bart: Path) -> None:
    adapter = loaded(bart, TASK)
    adapter.model.final_logits_bias.fill_(float("nan"))  # type: ignore[attr-defined]  # a model adapter
    with pytest.raises(PredictionFailed, match="not numbers"):
        ask(adapter, "London")


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongTask):
        loaded(tiny.classifier(tmp_path), TASK)
