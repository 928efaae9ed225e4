from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from transformers import pipeline

from modeldeploy.errors import InputTooLong, InvalidRequest, ModelError
from modeldeploy.worker.adapter import Adapter
from tests.models import minilm, tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "feature-extraction"
TEXTS = [
    "How do I get my money back?",
    "Can I have a refund, please? " * 6,
    "The cat slept on the warm windowsill all afternoon.",
    "ok",
]


@pytest.fixture(scope="module")
def adapter() -> Adapter[Any, Any]:
    return loaded(minilm.folder(), TASK)


@pytest.fixture(scope="module")
def original() -> Any:
    return SentenceTransformer(str(minilm.folder()), device="cpu")


def vector(adapter: Adapter[Any, Any], text: str, **how: Any) -> Any:
    return np.array(predict(adapter, inputs(TASK, text=text), parameters(TASK, **how)))


def test_vectors_are_those_of_sentence_transformers(
    adapter: Adapter[Any, Any], original: Any
) -> None:
    expected = original.encode(TEXTS)
    for text, one in zip(TEXTS, expected, strict=True):
        assert np.abs(vector(adapter, text) - one).max() < 1e-4
    items = [adapter.pre(inputs(TASK, text=text), parameters(TASK))[0] for text in TEXTS]
    for raw, text, one in zip(adapter.core(items), TEXTS, expected, strict=True):
        found = adapter.post([raw], inputs(TASK, text=text), parameters(TASK))
        assert np.abs(np.array(found) - one).max() < 1e-4


def test_a_layer_that_pools_for_other_heads_is_left_out(
    adapter: Adapter[Any, Any], original: Any
) -> None:
    assert adapter.model.pooler is None  # type: ignore[attr-defined]  # of transformers' models
    whole = sum(one.numel() for one in original.parameters())
    left_out = sum(one.numel() for one in original[0].auto_model.pooler.parameters())
    assert adapter.info().parameters == whole - left_out


def test_so_is_one_that_is_a_bare_layer(tmp_path: Path) -> None:
    folder = tiny.albert(tmp_path)
    albert: Any = loaded(folder, TASK)
    assert albert.model.pooler is None
    texts = TEXTS[2:]
    expected = pipeline(TASK, model=str(folder), device="cpu")(texts)
    items = [
        albert.pre(inputs(TASK, text=text), parameters(TASK, pooling="none"))[0] for text in texts
    ]
    for found, one in zip(albert.core(items), expected, strict=True):
        assert np.abs(found - np.array(one)[0]).max() < 1e-4


def test_paraphrases_are_nearer_than_strangers(adapter: Adapter[Any, Any]) -> None:
    pairs = [
        ("How do I get my money back?", "How can I receive a refund?"),
        ("The weather is lovely today.", "It is a beautiful sunny day."),
        ("A man is playing the guitar.", "Someone strums a guitar."),
    ]
    strangers = [pairs[at - 1][1] for at in range(3)]
    for (one, same), other in zip(pairs, strangers, strict=True):
        asked = vector(adapter, one)
        assert asked @ vector(adapter, same) > 0.5 > 0.3 > asked @ vector(adapter, other)


def test_length_dimensions_and_pooling_as_asked(adapter: Adapter[Any, Any]) -> None:
    assert np.linalg.norm(vector(adapter, TEXTS[0])) == pytest.approx(1, abs=1e-5)
    plain = vector(adapter, TEXTS[0], normalize=False)
    assert np.linalg.norm(plain) > 1.5
    short = vector(adapter, TEXTS[0], dimensions=10, normalize=False)
    assert np.allclose(short, plain[:10])
    assert np.linalg.norm(vector(adapter, TEXTS[0], dimensions=10)) == pytest.approx(1, abs=1e-5)
    assert np.allclose(vector(adapter, TEXTS[0], pooling="mean"), plain, atol=1e-5)
    assert not np.allclose(vector(adapter, TEXTS[0], pooling="cls"), plain, atol=1e-2)


def test_token_features_are_those_of_the_pipeline(adapter: Adapter[Any, Any]) -> None:
    reference = pipeline(TASK, model=str(minilm.folder()), device="cpu")
    expected = np.array(reference(TEXTS[0]))[0]
    assert np.abs(vector(adapter, TEXTS[0], pooling="none") - expected).max() < 1e-4
    with pytest.raises(InvalidRequest, match="one a token"):
        vector(adapter, "a", pooling="none", normalize=True)


def test_a_long_text_is_refused_or_cut_at_either_end(adapter: Adapter[Any, Any]) -> None:
    long = "first " + "word " * 400 + "last"
    with pytest.raises(InputTooLong, match="window is 256"):
        vector(adapter, long)
    cut = [
        adapter.pre(
            inputs(TASK, text=long), parameters(TASK, truncate=True, truncation_direction=way)
        )
        for way in ("right", "left")
    ]
    for (item,), word in zip(cut, ("first", "last"), strict=True):
        ids = item.data[0].ids
        assert len(ids) == 256
        tokenizer = adapter.tokens.tokenizer  # type: ignore[attr-defined]  # an adapter on a model
        assert word in tokenizer.decode(ids)
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)


def test_an_unknown_prompt_is_named(adapter: Adapter[Any, Any]) -> None:
    with pytest.raises(InvalidRequest, match="no prompt 'query'"):
        vector(adapter, "a", prompt_name="query")


@pytest.mark.parametrize(
    "mode", ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
)
def test_every_way_of_pooling_and_what_follows(tmp_path: Path, mode: str) -> None:
    folder = tiny.sentence_encoder(tmp_path / "m", mode)
    ours, theirs = loaded(folder, TASK), SentenceTransformer(str(folder), device="cpu")
    texts = ["Ada moved", "Once upon a time there was a small model", "x"]
    for name in (None, "query"):
        expected = theirs.encode(texts, prompt_name=name)
        how = parameters(TASK, prompt_name=name)
        items = [ours.pre(inputs(TASK, text=text), how)[0] for text in texts]
        for raw, text, one in zip(ours.core(items), texts, expected, strict=True):
            found = ours.post([raw], inputs(TASK, text=text), how)
            assert np.abs(np.array(found) - one).max() < 1e-5


def test_a_vector_comes_in_base64_as_asked(adapter: Adapter[Any, Any]) -> None:
    text = inputs(TASK, text="A sentence.")
    how = parameters(TASK, pooling="mean", encoding_format="base64")
    packed = predict(adapter, text, how)
    vector = predict(adapter, text, parameters(TASK, pooling="mean"))
    assert np.frombuffer(base64.b64decode(packed), "<f4").tolist() == vector
    with pytest.raises(InvalidRequest, match="encoding_format"):
        predict(adapter, text, parameters(TASK, pooling="none", encoding_format="base64"))


@pytest.mark.promise(23, fault="a modules.json that names folders outside of the model")
@pytest.mark.parametrize("absolute", [True, False])
def test_modules_are_read_from_the_model_alone(tmp_path: Path, absolute: bool) -> None:
    folder, elsewhere = tiny.sentence_encoder(tmp_path / "m", "mean"), tmp_path / "2_Dense"
    (folder / "2_Dense").rename(elsewhere)
    file = folder / "modules.json"
    modules = json.loads(file.read_text())
    modules[2]["path"] = str(elsewhere) if absolute else "../2_Dense"
    file.write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="names a folder outside of the model"):
        loaded(folder, TASK)
