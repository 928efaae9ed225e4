from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.schema.tasks.generation import Conversation, Message
from modeldeploy.worker.adapter import Adapter
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "text-generation"
PROMPTS = ["Once upon a time", "I", "Where does Ada live? What can the model do?"]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Adapter[Any, Any]:
    return loaded(snapshot, TASK)


def _ask(adapter: Adapter[Any, Any], text: str, **how: Any) -> list[str]:
    found = predict(adapter, inputs(TASK, text=text), parameters(TASK, **how))
    return [one.generated_text for one in found]


def _greedy(snapshot: Path, text: str, new: int) -> str:
    model = AutoModelForCausalLM.from_pretrained(snapshot).eval()
    tokenizer = AutoTokenizer.from_pretrained(snapshot)
    written = model.generate(
        **tokenizer(text, return_tensors="pt"), do_sample=False, max_new_tokens=new, pad_token_id=0
    )
    decoded: str = tokenizer.decode(written[0], skip_special_tokens=True)
    return decoded


@pytest.mark.parametrize("text", PROMPTS)
def test_greedy_is_what_generate_writes(
    adapter: Adapter[Any, Any], snapshot: Path, text: str
) -> None:
    assert _ask(adapter, text, max_new_tokens=12) == [_greedy(snapshot, text, 12)]


def test_company_and_its_lengths_do_not_change_the_text(adapter: Adapter[Any, Any]) -> None:
    how = [parameters(TASK, max_new_tokens=new) for new in (3, 12, 7)]
    asked = [inputs(TASK, text=text) for text in PROMPTS]
    items = [adapter.pre(one, mine)[0] for one, mine in zip(asked, how, strict=True)]
    assert len({item.key for item in items}) == 1
    for one, mine, raw in zip(asked, how, adapter.core(items), strict=True):
        assert adapter.post([raw], one, mine) == predict(adapter, one, mine)


def test_max_length_counts_prompt_and_new_tokens(adapter: Adapter[Any, Any]) -> None:
    prompt = len(adapter.pre(inputs(TASK, text=PROMPTS[0]), parameters(TASK))[0].data.ids)
    longest = _ask(adapter, PROMPTS[0], max_length=prompt + 5)
    assert longest == _ask(adapter, PROMPTS[0], max_new_tokens=5)
    assert longest == _ask(adapter, PROMPTS[0], max_new_tokens=5, max_length=60)


def test_the_default_length_stays_within_the_window(adapter: Adapter[Any, Any]) -> None:
    item = adapter.pre(inputs(TASK, text="Once"), parameters(TASK))[0]
    assert item.data.new == 50
    item = adapter.pre(inputs(TASK, text="Once upon " * 12), parameters(TASK))[0]
    assert len(item.data.ids) + item.data.new == 64


def test_a_stop_string_ends_the_text_and_is_cut(adapter: Adapter[Any, Any]) -> None:
    (whole,) = _ask(adapter, PROMPTS[0], max_new_tokens=20, return_full_text=False)
    stop = whole[6:9]
    (cut,) = _ask(adapter, PROMPTS[0], max_new_tokens=20, return_full_text=False, stop=stop)
    assert cut == whole[: whole.index(stop)]
    (same,) = _ask(
        adapter, PROMPTS[0], max_new_tokens=20, return_full_text=False, stop=["zzz", stop]
    )
    assert same == cut


def test_a_stop_string_saves_the_work_behind_it(adapter: Adapter[Any, Any]) -> None:
    (whole,) = _ask(adapter, PROMPTS[0], max_new_tokens=20, return_full_text=False)
    how = parameters(TASK, max_new_tokens=40, stop=whole[2:5])
    raws = adapter.core(adapter.pre(inputs(TASK, text=PROMPTS[0]), how))
    assert raws[0][0].finish == "stop_sequence"
    assert raws[0][0].tokens < 20


def test_a_seed_repeats_and_another_does_not(adapter: Adapter[Any, Any]) -> None:
    how = {"temperature": 5.0, "top_k": 0, "max_new_tokens": 20, "num_return_sequences": 3}
    first = _ask(adapter, PROMPTS[0], seed=1, **how)
    torch.rand(7)
    assert _ask(adapter, PROMPTS[0], seed=1, **how) == first
    assert _ask(adapter, PROMPTS[0], seed=2, **how) != first
    assert len(set(first)) == 3


def test_a_seeded_request_leaves_the_others_random_numbers_alone(
    adapter: Adapter[Any, Any],
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _ask(adapter, PROMPTS[0], seed=1, temperature=2.0, max_new_tokens=3)
    assert torch.equal(torch.rand(3), expected)


def test_temperature_zero_is_greedy(adapter: Adapter[Any, Any]) -> None:
    assert _ask(adapter, "I", temperature=0, max_new_tokens=9) == _ask(
        adapter, "I", max_new_tokens=9
    )


def test_several_sequences_are_sampled(adapter: Adapter[Any, Any]) -> None:
    found = _ask(adapter, PROMPTS[0], num_return_sequences=4, max_new_tokens=20, temperature=3.0)
    assert len(found) == 4
    assert len(set(found)) > 1
    assert all(text.startswith(PROMPTS[0]) for text in found)
    with pytest.raises(InvalidRequest, match="num_return_sequences"):
        _ask(adapter, "I", num_return_sequences=2, do_sample=False)


def test_what_does_not_fit_the_window_names_both_lengths(adapter: Adapter[Any, Any]) -> None:
    with pytest.raises(InputTooLong, match=r"\+ 62 = \d+.*window is 64"):
        _ask(adapter, PROMPTS[0], max_new_tokens=62)
    with pytest.raises(InputTooLong, match=r"window is 64"):
        _ask(adapter, "Once upon a time " * 40)
    with pytest.raises(InputTooLong, match="max_length is 1"):
        _ask(adapter, PROMPTS[0], max_length=1)


def test_a_dropped_item_stops_and_the_others_go_on(adapter: Adapter[Any, Any]) -> None:
    how = parameters(TASK, max_new_tokens=30)
    items = [adapter.pre(inputs(TASK, text=text), how)[0] for text in PROMPTS[:2]]
    items[0].dropped = True
    raws = adapter.core(items)
    assert adapter.post([raws[1]], inputs(TASK, text=PROMPTS[1]), how) == predict(
        adapter, inputs(TASK, text=PROMPTS[1]), how
    )
    steps = 0

    def leave_after_three(*_: Any, **__: Any) -> None:
        nonlocal steps
        steps += 1
        items[1].dropped = steps >= 3

    items[1].dropped = False
    hook = adapter.model.register_forward_hook(leave_after_three)  # type: ignore[attr-defined]  # a model adapter
    try:
        adapter.core([items[1]])
    finally:
        hook.remove()
    assert steps == 3


def test_details_tell_of_each_token_and_why_it_ended(adapter: Adapter[Any, Any]) -> None:
    asked = inputs(TASK, text=PROMPTS[0])
    how = parameters(
        TASK, max_new_tokens=6, details=True, top_n_tokens=3, return_full_text=False, seed=4
    )
    (found,) = predict(adapter, asked, how)
    details = found.details
    assert details.finish_reason == "length"
    assert details.generated_tokens == len(details.tokens) == 6
    assert details.seed == 4
    assert details.input_length == len(adapter.pre(asked, how)[0].data.ids)
    assert "".join(token.text for token in details.tokens) == found.generated_text
    for token, top in zip(details.tokens, details.top_tokens, strict=True):
        assert [one.logprob for one in top] == sorted((t.logprob for t in top), reverse=True)
        assert token.id == top[0].id, "greedy takes the likeliest"
        assert token.logprob == pytest.approx(top[0].logprob)


def test_a_prompt_can_be_cut_to_its_last_tokens(adapter: Adapter[Any, Any]) -> None:
    (item,) = adapter.pre(inputs(TASK, text=PROMPTS[2]), parameters(TASK, truncate=4))
    (whole,) = adapter.pre(inputs(TASK, text=PROMPTS[2]), parameters(TASK))
    assert item.data.ids == whole.data.ids[-4:]


def test_a_conversation_needs_a_chat_template(adapter: Adapter[Any, Any]) -> None:
    turns = Conversation(messages=[Message(role="user", content="Hi")])
    with pytest.raises(InvalidRequest, match="no chat template"):
        adapter.pre(turns, parameters(TASK))


def test_a_conversation_becomes_what_the_template_makes_of_it(snapshot: Path) -> None:
    adapter = loaded(snapshot, TASK)
    tokens = adapter.tokens  # type: ignore[attr-defined]  # this task's own
    tokens.tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}"
        "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    )
    turns = Conversation(messages=[Message(role="user", content="Hi")])
    (item,) = adapter.pre(turns, parameters(TASK))
    assert item.data.ids == tokens.encode_bare("<user>Hi<assistant>").ids
    with pytest.raises(InvalidRequest, match="no tools"):
        adapter.pre(Conversation(messages=[Message(role="tool", content="")]), parameters(TASK))


def test_an_empty_prompt_begins_with_the_models_own_token(adapter: Adapter[Any, Any]) -> None:
    assert adapter.pre(inputs(TASK, text=""), parameters(TASK))[0].data.ids == [0]


@pytest.mark.parametrize(
    ("places", "beside", "sequences", "new"),
    [
        (None, None, 1, 2048),  # a call of ``generate`` takes 16,384 tokens
        (1_000_000, None, 1, 124_900),  # an eighth, with the prompt
        (4000, None, 1, 2048),  # less than a fair share would be too little
        (1000, None, 1, 800),  # there is no memory for more, beside the prompt that is read
        (1000, None, 3, 200),
        (1_000_000, 4096, 1, 3996),  # before the rotary embeddings change
        (1_000_000, 1000, 1, 124_900),  # they would at once, so it is written alone
    ],
)
def test_who_names_no_end_leaves_room_for_others_and_is_not_refused(
    adapter: Any,
    monkeypatch: pytest.MonkeyPatch,
    places: int | None,
    beside: int | None,
    sequences: int,
    new: int,
) -> None:
    monkeypatch.setattr(adapter, "_most_places", places)
    monkeypatch.setattr(adapter, "_longest_beside", beside)
    monkeypatch.setattr(adapter.tokens, "window", 500_000)
    how = parameters(TASK, max_length=500_000, num_return_sequences=sequences, temperature=1.0)
    monkeypatch.setattr(adapter, "_prompt_ids", lambda asked: [1] * 100)
    (item,) = adapter.pre(inputs(TASK, text="a"), how)
    assert item.data.new == new
    assert len(item.data.ids) == 100
