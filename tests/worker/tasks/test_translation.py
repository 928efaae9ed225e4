from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from modeldeploy.errors import InvalidRequest, UnsupportedTask
from modeldeploy.schema.tasks import find
from modeldeploy.worker.tasks import adapter_of
from modeldeploy.worker.tasks.languages import ByMark
from tests.models import seq2seq as models
from tests.worker.adapters import (
    AnyAdapter,
    Make,
    inputs,
    loaded,
    made_once,
    parameters,
    predict,
    source,
)

TASK = "translation"
TEXT = "Ada lives in London with her sister."
make = made_once(TASK)


def ask(adapter: AnyAdapter, text: str = TEXT, **how: Any) -> str:
    how = {"max_new_tokens": 9, "num_beams": 1, "repetition_penalty": 1.3, **how}
    found = predict(adapter, inputs(TASK, text=text), parameters(TASK, **how))
    return str(found.translation_text)


def translated(
    snapshot: Path, text: str = TEXT, source: str | None = None, target: str | None = None
) -> str:
    """What transformers' documentation does by hand: the source language set on the tokenizer,
    the target's token forced as the first."""
    model = AutoModelForSeq2SeqLM.from_pretrained(snapshot).eval()
    tokenizer = AutoTokenizer.from_pretrained(snapshot)
    first = {}
    if source:
        tokenizer.src_lang = source
        first = {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(target)}
    ids = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    row = model.generate(**ids, max_new_tokens=9, repetition_penalty=1.3, **first)[0]
    return str(tokenizer.decode(row, skip_special_tokens=True))


@pytest.mark.parametrize(
    ("maker", "source", "target"),
    [
        (models.mbart50, "en_XX", "ro_RO"),
        (models.mbart50, "fr_XX", "de_DE"),
        (models.nllb, "eng_Latn", "fra_Latn"),
        (models.nllb, "deu_Latn", "zho_Hans"),
    ],
)
def test_languages_are_told_as_transformers_tells_them(
    make: Make, maker: Any, source: str, target: str
) -> None:
    folder, adapter = make(maker)
    expected = translated(folder, TEXT, source, target)
    assert ask(adapter, src_lang=source, tgt_lang=target) == expected
    item = adapter.pre(inputs(TASK, text=TEXT), parameters(TASK, src_lang=source, tgt_lang=target))[
        0
    ]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.src_lang = source
    assert item.data.encoded.ids == tokenizer(TEXT).input_ids


def test_a_codes_beginning_will_do(make: Make) -> None:
    _, mbart = make(models.mbart50)
    assert ask(mbart, src_lang="en", tgt_lang="RO") == ask(
        mbart, src_lang="en_XX", tgt_lang="ro_RO"
    )
    _, nllb = make(models.nllb)
    assert ask(nllb, src_lang="deu", tgt_lang="fra") == ask(
        nllb, src_lang="deu_Latn", tgt_lang="fra_Latn"
    )


def test_with_nothing_said_it_is_from_the_models_own_into_french(make: Make) -> None:
    _, mbart = make(models.mbart50)
    assert ask(mbart) == ask(mbart, src_lang="en_XX", tgt_lang="fr_XX")
    assert ask(mbart, src_lang="fr_XX") == ask(mbart, src_lang="fr_XX", tgt_lang="en_XX")
    _, nllb = make(models.nllb)
    assert ask(nllb) == ask(nllb, src_lang="eng_Latn", tgt_lang="fra_Latn")


def test_the_models_own_target_comes_before_french(make: Make, tmp_path: Path) -> None:
    folder, adapter = make(models.mbart50)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    model.generation_config.forced_bos_token_id = tokenizer.convert_tokens_to_ids("ro_RO")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert ask(loaded(tmp_path, TASK)) == ask(adapter, tgt_lang="ro_RO")


def test_a_batch_speaks_one_target_and_any_sources(make: Make) -> None:
    _, adapter = make(models.nllb)
    how = [
        parameters(TASK, src_lang=source, tgt_lang="fra_Latn", max_new_tokens=9, num_beams=1)
        for source in ("eng_Latn", "deu_Latn", "zho_Hant")
    ]
    asked = [inputs(TASK, text=text) for text in (TEXT, "London", "ten " * 12)]
    items = [adapter.pre(*one)[0] for one in zip(asked, how, strict=True)]
    assert len({item.key for item in items}) == 1
    for one, mine, raw in zip(asked, how, adapter.core(items), strict=True):
        assert adapter.post([raw], one, mine) == predict(adapter, one, mine)
    other = adapter.pre(asked[0], parameters(TASK, tgt_lang="deu_Latn", max_new_tokens=9))[0]
    assert other.key != items[0].key


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"tgt_lang": "klingon"}, "tgt_lang: 'klingon' is not a language"),
        ({"src_lang": "xx_XX"}, "src_lang: 'xx_XX' is not a language"),
        ({"tgt_lang": "zho"}, "tgt_lang: 'zho' is more than one language"),
        ({"tgt_lang": "</s>"}, "is not a language"),
    ],
)
def test_a_language_it_does_not_know_is_named(make: Make, how: dict[str, str], says: str) -> None:
    _, adapter = make(models.nllb)
    with pytest.raises(InvalidRequest, match=says) as refused:
        ask(adapter, **how)
    assert "zho_Hans" in refused.value.hint


def test_t5_is_told_by_a_sentence(make: Make) -> None:
    folder, adapter = make(models.t5)
    german = translated(folder, "translate English to German: " + TEXT)
    assert ask(adapter, src_lang="en", tgt_lang="de", max_length=10) == german
    assert ask(adapter, tgt_lang="de") == german
    assert ask(adapter, "translate English to German: " + TEXT) == german
    assert ask(adapter) == translated(folder, "translate English to French: " + TEXT)
    with pytest.raises(InvalidRequest, match="does not translate de to anything") as refused:
        ask(adapter, src_lang="de")
    assert "en to fr" in refused.value.hint


def test_a_model_of_one_pair_needs_no_languages(make: Make) -> None:
    folder, adapter = make(models.marian)
    assert ask(adapter) == translated(folder)
    assert ask(adapter, src_lang="en", tgt_lang="de") == ask(adapter)
    with pytest.raises(InvalidRequest, match="tgt_lang: the model translates one pair"):
        ask(adapter, src_lang="en", tgt_lang="fr")


def test_marians_of_several_targets_read_a_mark() -> None:
    languages = ByMark(["fra", "por", "zho_Hans"])
    assert languages.tell("Hi", None, "fra").text == ">>fra<< Hi"
    assert languages.tell("Hi", "en", "zho").text == ">>zho_Hans<< Hi"
    assert languages.tell(">>por<< Hi", None, None).text == ">>por<< Hi"
    with pytest.raises(InvalidRequest, match="tgt_lang: 'deu'"):
        languages.tell("Hi", None, "deu")


def _named(folder: Path, name: str) -> AnyAdapter:
    task = find(name)
    assert task is not None
    where = replace(source(folder, TASK), task=task)
    adapter = adapter_of(task)
    adapter.load(where)
    adapter.prepare(where)
    return adapter


def test_a_task_named_for_a_pair_sets_it(make: Make) -> None:
    folder, adapter = make(models.t5)
    german = _named(folder, "translation_en_to_de")
    assert ask(german) == ask(adapter, src_lang="en", tgt_lang="de")
    assert ask(german, tgt_lang="fr") == ask(adapter, tgt_lang="fr")
    with pytest.raises(UnsupportedTask, match=r"translation_de_to_en: .*does not translate"):
        _named(folder, "translation_de_to_en")
    folder, adapter = make(models.nllb)
    assert ask(_named(folder, "translation_deu_to_eng")) == ask(
        adapter, src_lang="deu", tgt_lang="eng"
    )
    folder, adapter = make(models.marian)
    assert ask(_named(folder, "translation_xx_to_yy")) == ask(adapter)
