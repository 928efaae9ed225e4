"""A model's own ``generation_config``: the text is the one that ``generate`` writes."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from modeldeploy.errors import InvalidRequest, ModelError
from modeldeploy.schema.tasks.generation import Conversation, Message
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.generation.rows import Piece
from modeldeploy.worker.generation.rules import Rules
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "text-generation"
TEXTS = ["Once upon a time", "I", "Where does Ada live? What can the model do?"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.chat(tmp_path_factory.mktemp("m") / "gpt2")


@pytest.fixture
def snapshot(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "copy"))


def asking(snapshot: Path, **own: Any) -> Path:
    file = snapshot / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **own}))
    return snapshot


def expected(snapshot: Path, text: str, **how: Any) -> list[str]:
    model = AutoModelForCausalLM.from_pretrained(snapshot).eval()
    tokenizer = AutoTokenizer.from_pretrained(snapshot)
    prompt = tokenizer(text, return_tensors="pt")
    written = model.generate(**prompt, do_sample=False, pad_token_id=0, **how)
    found: list[str] = tokenizer.batch_decode(written, skip_special_tokens=True)
    return found


def answers(adapter: Any, *texts: str, **how: Any) -> list[str]:
    """By the deployment's own front, all at once."""
    items = [item(adapter, text, **how) for text in texts]

    async def tell() -> list[Any]:
        front = adapter.front(100, lambda rows: None)
        try:
            found = await asyncio.gather(*(front.run([one]) for one in items))
            return [one.raws for one in found]
        finally:
            front.close()

    found = zip(asyncio.run(tell()), texts, strict=True)
    return [
        one.generated_text
        for raws, text in found
        for one in adapter.post(raws, inputs(TASK, text=text), parameters(TASK, **how))
    ]


def item(adapter: Any, text: str, **how: Any) -> Item:
    (one,) = adapter.pre(inputs(TASK, text=text), parameters(TASK, **how))
    assert isinstance(one, Item)
    return one


@pytest.mark.parametrize(
    "own",
    [
        {"no_repeat_ngram_size": 2},
        {"encoder_no_repeat_ngram_size": 1},
        {"encoder_repetition_penalty": 1.7},
        {"suppress_tokens": [*range(120, 400)]},
        {"begin_suppress_tokens": [*range(120, 400)]},
        {"bad_words_ids": [[one] for one in range(150, 373)]},
        {"sequence_bias": [[[one], 9.0] for one in range(30, 40)]},
        {"sequence_bias": [[[70], 9.0], [[71], 8.9]], "repetition_penalty": 1.5},
        {"forced_eos_token_id": 77},
        {"forced_bos_token_id": 33},
        {"min_new_tokens": 9, "sequence_bias": [[[0], 9.0]]},
        {"min_length": 12, "sequence_bias": [[[0], 9.0]]},
        {"exponential_decay_length_penalty": [4, 3.0]},
        {"num_beams": 3},
        {"num_beams": 4, "length_penalty": -2.0, "early_stopping": True, "no_repeat_ngram_size": 2},
        {"num_beams": 2, "min_new_tokens": 5, "sequence_bias": [[[0], 9.0]]},
    ],
    ids=lambda own: "-".join(own),
)
def test_what_the_model_asks_for_is_what_generate_does(snapshot: Path, own: dict[str, Any]) -> None:
    without = [expected(snapshot, text, max_new_tokens=20)[0] for text in TEXTS]
    asking(snapshot, **own)
    wanted = [expected(snapshot, text, max_new_tokens=20)[0] for text in TEXTS]
    assert wanted != without, "else nothing is tried"
    adapter = loaded(snapshot, TASK)
    assert answers(adapter, *TEXTS, max_new_tokens=20) == wanted
    assert [predict_one(adapter, text, max_new_tokens=20) for text in TEXTS] == wanted


def predict_one(adapter: Any, text: str, **how: Any) -> str:
    """Without the running batch."""
    found: str = predict(adapter, inputs(TASK, text=text), parameters(TASK, **how))[
        0
    ].generated_text
    return found


def test_company_on_generate_changes_nothing(snapshot: Path) -> None:
    adapter = loaded(asking(snapshot, no_repeat_ngram_size=2, min_length=12), TASK)
    items = [item(adapter, text, max_new_tokens=20) for text in TEXTS]
    alone = [adapter.core([item(adapter, text, max_new_tokens=20)])[0] for text in TEXTS]
    assert adapter.core(items) == alone


def test_its_own_length_holds_where_nothing_is_asked(snapshot: Path) -> None:
    asking(snapshot, max_length=14)
    adapter = loaded(snapshot, TASK)
    assert answers(adapter, TEXTS[0]) == expected(snapshot, TEXTS[0])
    assert item(adapter, "Once upon a time " * 8).data.new == 50, "a longer prompt has its own"
    asking(snapshot, max_new_tokens=3)
    assert item(loaded(snapshot, TASK), TEXTS[0]).data.new == 3


def test_a_model_that_asks_for_nothing_has_no_processors(plain: Path) -> None:
    adapter: Any = loaded(plain, TASK)
    assert adapter.rules.of([1, 2], 5, None) is None
    assert adapter.rules.of([1, 2], 5, 1.5) is None
    assert adapter.info().notes == ()


def test_its_own_stop_strings_end_a_text(snapshot: Path) -> None:
    (whole,) = answers(loaded(snapshot, TASK), TEXTS[0], max_new_tokens=20, return_full_text=False)
    adapter = loaded(asking(snapshot, stop_strings=whole[4:7]), TASK)
    found = answers(adapter, TEXTS[0], max_new_tokens=20, return_full_text=False)
    assert found == [whole[: whole.index(whole[4:7])]]


@pytest.mark.parametrize(
    "own",
    [
        {"penalty_alpha": 0.6, "top_k": 4},
        {"dola_layers": "low"},
        {"num_return_sequences": 3, "do_sample": True},
        {"max_time": 5.0},
        {"token_healing": True},
    ],
    ids=lambda own: next(iter(own)),
)
def test_what_is_not_done_is_said(
    snapshot: Path, own: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    (without,) = answers(loaded(snapshot, TASK), TEXTS[0], max_new_tokens=9)
    adapter = loaded(asking(snapshot, **own), TASK)
    (note,) = adapter.info().notes
    assert next(iter(own)) in note
    assert note in caplog.text
    assert answers(adapter, TEXTS[0], max_new_tokens=9) == [without]
    assert predict_one(adapter, TEXTS[0], max_new_tokens=9) == without


def test_ways_to_be_faster_change_nothing(snapshot: Path) -> None:
    without = predict_one(loaded(snapshot, TASK), TEXTS[0], max_new_tokens=9)
    adapter = loaded(asking(snapshot, prompt_lookup_num_tokens=4), TASK)
    assert adapter.info().notes == ()
    assert predict_one(adapter, TEXTS[0], max_new_tokens=9) == without


def test_a_search_has_several_best_and_tells_of_each_token(snapshot: Path) -> None:
    asking(snapshot, num_beams=3)
    adapter = loaded(snapshot, TASK)
    assert "num_beams is 3" in adapter.info().notes[0]
    how = {"max_new_tokens": 8, "num_return_sequences": 2}
    wanted = expected(snapshot, TEXTS[0], **how)
    assert answers(adapter, TEXTS[0], **how) == wanted
    pieces: list[Piece] = []
    one = item(adapter, TEXTS[0], max_new_tokens=8, details=True, top_n_tokens=2)
    one.sink = pieces.append
    (raw,) = adapter.core([one])
    assert TEXTS[0] + "".join(piece.text for piece in pieces) == wanted[0]
    assert raw[0].finish == "length"
    assert len(raw[0].pieces) == raw[0].tokens == 8
    for piece in raw[0].pieces:
        assert piece.choice.logprob < 0
        assert len(piece.choice.top) == 2


def test_a_search_ends_at_stop_strings_and_leaves_what_it_does_not_know(snapshot: Path) -> None:
    adapter = loaded(asking(snapshot, num_beams=3), TASK)
    (whole,) = answers(adapter, TEXTS[0], max_new_tokens=20, return_full_text=False)
    stop = whole[4:7]
    found = answers(adapter, TEXTS[0], max_new_tokens=20, return_full_text=False, stop=stop)
    assert found == [whole[: whole.index(stop)]]
    with pytest.raises(InvalidRequest, match="frequency_penalty"):
        item(adapter, TEXTS[0], frequency_penalty=1.0)
    sampled = item(adapter, TEXTS[0], temperature=2.0).data.sampling
    assert sampled.beams == 1
    with pytest.raises(InvalidRequest, match="num_return_sequences"):
        item(adapter, TEXTS[0], num_return_sequences=4, do_sample=False)


@pytest.mark.parametrize(
    "own",
    [
        {"min_p": 0.4, "temperature": 0.2},
        {"typical_p": 0.2, "temperature": 0.1},
        {"top_h": 0.3, "temperature": 0.1},
        {"epsilon_cutoff": 0.02, "temperature": 0.1},
        {"eta_cutoff": 0.02, "temperature": 0.1},
    ],
    ids=lambda own: next(iter(own)),
)
def test_a_conversation_is_sampled_as_the_authors_say(snapshot: Path, own: dict[str, Any]) -> None:
    """Only tokens that transformers' own warper leaves are ever drawn, and not one alone."""
    adapter: Any = loaded(asking(snapshot, do_sample=True, **own), TASK)
    turns = Conversation(messages=[Message(role="user", content="Hi")])
    (asked,) = adapter.pre(turns, parameters(TASK, max_new_tokens=1, details=True))
    left = _left(snapshot, asked.data.ids, **own)
    assert 1 < len(left) < 200, "else nothing is tried"
    drawn = set()
    for seed in range(60):
        how = parameters(TASK, max_new_tokens=1, details=True, seed=seed)
        (one,) = adapter.core(adapter.pre(turns, how))[0]
        drawn.add(one.pieces[0].choice.token)
    assert drawn <= left
    assert len(drawn) > 1


def _left(snapshot: Path, ids: list[int], **own: Any) -> set[int]:
    model = AutoModelForCausalLM.from_pretrained(snapshot).eval()
    config = GenerationConfig(do_sample=True, top_k=0, **own)
    warpers = model._get_logits_processor(config, input_ids_seq_length=1, device="cpu")
    with torch.inference_mode():
        scores = warpers(None, model(torch.tensor([ids])).logits[:, -1])
    return set(scores[0].isfinite().nonzero()[:, 0].tolist())


def test_typical_sampling_can_be_asked_for(plain: Path) -> None:
    adapter = loaded(plain, TASK)
    sampling = item(adapter, TEXTS[0], typical_p=0.3).data.sampling
    assert sampling.temperature == 1.0
    assert sampling.typical_p == 0.3
    how = {"typical_p": 0.3, "max_new_tokens": 9, "seed": 4}
    assert answers(adapter, *TEXTS, **how) == [answers(adapter, one, **how)[0] for one in TEXTS]


def test_a_config_that_cannot_be_followed_is_told(snapshot: Path) -> None:
    with pytest.raises(ModelError, match="generation_config"):
        loaded(asking(snapshot, bad_words_ids="no list of lists"), TASK)


def test_a_task_that_does_not_search_says_so(snapshot: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(asking(snapshot, num_beams=3))
    rules = Rules(model, searches=False)
    assert rules.beams == 1
    assert "num_beams is not done" in rules.notes[0]
