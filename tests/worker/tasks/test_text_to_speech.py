from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import StoppingCriteriaList, pipeline

from modeldeploy.errors import InputTooLong, InvalidRequest, UnsupportedModel
from modeldeploy.schema.tasks.audio import GenerationParameters
from modeldeploy.worker.adapter import Adapter, Dropped
from tests.models import sounds
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "text-to-speech"
TEXT = "hello there, it is good to hear from you."


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("voices")
    return {
        "vits": sounds.vits(root / "vits"),
        "voices": sounds.vits(root / "voices", speakers=3),
        "speecht5": sounds.speecht5(root / "speecht5"),
        "musicgen": sounds.musicgen(root / "musicgen"),
        "bark": sounds.bark(root / "bark"),
    }


@pytest.fixture(scope="module")
def adapters(folders: dict[str, Path]) -> dict[str, Adapter[Any, Any]]:
    return {name: loaded(folder, TASK) for name, folder in folders.items()}


def say(adapter: Adapter[Any, Any], text: str = TEXT, **how: Any) -> tuple[Any, int]:
    """The samples in the WAV file, and their rate."""
    found = predict(adapter, inputs(TASK, text=text), parameters(TASK, **how))
    samples, rate = soundfile.read(io.BytesIO(found.audio), dtype="float32")
    assert rate == found.sampling_rate
    return samples, rate


@pytest.mark.parametrize("kind", ["vits", "musicgen", "bark"])
def test_it_sounds_as_the_pipeline(
    folders: dict[str, Path], adapters: dict[str, Adapter[Any, Any]], kind: str
) -> None:
    more = {"bark": {"semantic_max_new_tokens": 12}, "musicgen": {"max_new_tokens": 12}}
    speaker = pipeline(TASK, model=str(folders[kind]), device="cpu", dtype="float32")
    torch.manual_seed(5)
    expected = speaker(TEXT, forward_params=more.get(kind, {}))
    found, rate = say(adapters[kind], seed=5, max_new_tokens=12)
    assert rate == expected["sampling_rate"]
    assert len(found) > 50
    assert found == pytest.approx(np.clip(expected["audio"], -1, 1), abs=1e-4)


def test_speecht5_sounds_as_transformers_called_directly(
    adapters: dict[str, Adapter[Any, Any]],
) -> None:
    adapter: Any = adapters["speecht5"]
    embedding = [0.1, -0.2, 0.3, 0.4]
    ids = torch.tensor([adapter.tokens.encode("hello").ids])
    torch.manual_seed(5)
    with torch.inference_mode():
        expected = adapter.model.generate_speech(
            ids, torch.tensor([embedding]), vocoder=adapter.vocoder
        )
    found, rate = say(adapter, "hello", seed=5, speaker_embeddings=embedding)
    assert rate == 16_000
    assert found == pytest.approx(expected.clip(-1, 1).numpy(), abs=1e-4)
    other, _ = say(adapter, "hello", seed=5)
    assert len(other) != len(found) or not np.allclose(other, found, atol=1e-3)


@pytest.mark.parametrize("kind", ["vits", "musicgen", "bark", "speecht5"])
def test_a_seed_makes_it_sound_the_same(adapters: dict[str, Adapter[Any, Any]], kind: str) -> None:
    first, second, other = (
        say(adapters[kind], "hello", seed=seed, max_new_tokens=8)[0] for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert len(other) != len(first) or not np.array_equal(first, other)


def test_vits_has_voices_and_a_pace(adapters: dict[str, Adapter[Any, Any]]) -> None:
    one, two = (say(adapters["voices"], seed=1, speaker_id=at)[0] for at in (0, 2))
    assert len(one) != len(two) or not np.array_equal(one, two)
    slow, fast = (say(adapters["vits"], seed=1, speaking_rate=rate)[0] for rate in (0.5, 2.0))
    assert len(slow) > len(fast)
    with pytest.raises(InvalidRequest, match="speaker_id"):
        say(adapters["voices"], speaker_id=3)


@pytest.mark.parametrize(
    ("kind", "how", "word"),
    [
        ("vits", {"temperature": 0.5}, "temperature"),
        ("vits", {"speaker_id": 1}, "speaker_id"),
        ("vits", {"speaker_embeddings": [0.0]}, "speaker_embeddings"),
        ("speecht5", {"speaker_embeddings": [0.0]}, "speaker_embeddings"),
        ("bark", {"speaking_rate": 1.0}, "speaking_rate"),
        ("vits", {"num_beams": 2}, "num_beams"),
        ("vits", {"generation_parameters": GenerationParameters(top_k=3)}, "top_k"),
        ("speecht5", {"use_cache": True}, "use_cache"),
        ("musicgen", {"num_beams": 2}, "num_beams"),
    ],
)
def test_what_a_model_cannot_do_is_named(
    adapters: dict[str, Adapter[Any, Any]], kind: str, how: dict[str, Any], word: str
) -> None:
    with pytest.raises(InvalidRequest, match=word):
        say(adapters[kind], **how)


def test_a_text_that_is_too_long(adapters: dict[str, Adapter[Any, Any]]) -> None:
    with pytest.raises(InputTooLong, match="64"):
        say(adapters["speecht5"], "a" * 65)


def test_a_spectrogram_model_without_its_vocoder(tmp_path: Path) -> None:
    folder = sounds.speecht5(tmp_path / "model", vocoder=False)
    with pytest.raises(UnsupportedModel, match="vocoder") as refused:
        loaded(folder, TASK)
    assert "speecht5_hifigan" in refused.value.hint
    companion = sounds.hifi_gan(tmp_path / "vocoder")
    assert len(say(loaded(folder, TASK, companion=str(companion)), "hello", seed=1)[0]) > 0


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("bark", {"num_beams": 2, "do_sample": False, "early_stopping": True}),
        ("bark", {"min_new_tokens": 11}),
        ("musicgen", {"typical_p": 0.3}),
        ("musicgen", {"epsilon_cutoff": 0.2}),
        ("musicgen", {"eta_cutoff": 0.99}),
        ("musicgen", {"top_p": 0.2, "temperature": 3.0}),
    ],
)
def test_it_decodes_as_generate_would(
    adapters: dict[str, Adapter[Any, Any]], kind: str, how: dict[str, Any]
) -> None:
    adapter: Any = adapters[kind]
    (item,) = adapter.pre(inputs(TASK, text="hello"), parameters(TASK))
    ids = torch.tensor([item.data[0]])
    told = {"max_new_tokens": 12, **how}
    if kind == "bark":
        pad = 256 - ids.shape[1]
        told = {f"semantic_{name}" if "new" in name else name: one for name, one in told.items()}
        told["attention_mask"] = torch.nn.functional.pad(torch.ones_like(ids), (0, pad))
        ids = torch.nn.functional.pad(ids, (0, pad), value=adapter.tokens.pad_id or 0)
    torch.manual_seed(5)
    with torch.inference_mode():
        expected = adapter.model.generate(input_ids=ids, **told)[0].squeeze().clip(-1, 1).numpy()
    found, _ = say(adapter, "hello", seed=5, max_new_tokens=12, **how)
    assert found == pytest.approx(expected, abs=1e-4)
    nested = {"generation_parameters": GenerationParameters(max_new_tokens=12, **how)}
    assert np.array_equal(say(adapter, "hello", seed=5, **nested)[0], found)
    plain, _ = say(adapter, "hello", seed=5, max_new_tokens=12)
    assert len(plain) != len(found) or not np.allclose(plain, found), "else nothing is tried"


@pytest.mark.parametrize(("kind", "start"), [("musicgen", 1), ("bark", 257)])
def test_lengths_count_what_the_decoder_begins_with(
    adapters: dict[str, Adapter[Any, Any]], kind: str, start: int
) -> None:
    short, _ = say(adapters[kind], "hello", seed=5, max_new_tokens=9)
    assert np.array_equal(say(adapters[kind], "hello", seed=5, max_length=start + 9)[0], short)
    both = say(adapters[kind], "hello", seed=5, max_new_tokens=9, max_length=start + 2)
    assert np.array_equal(both[0], short), "max_new_tokens comes first"
    with pytest.raises(InvalidRequest, match="max_length"):
        say(adapters[kind], max_length=start)
    with pytest.raises(InvalidRequest, match="min_length"):
        say(adapters[kind], max_new_tokens=3, min_length=start + 4)
    say(adapters[kind], "hello", max_new_tokens=3, use_cache=False, num_beam_groups=1)


def test_bark_writes_no_more_than_it_has_positions_for(
    adapters: dict[str, Adapter[Any, Any]],
) -> None:
    with pytest.raises(InvalidRequest, match="max_new_tokens: this model writes at most"):
        say(adapters["bark"], max_new_tokens=50_000)


@pytest.mark.parametrize("kind", ["musicgen", "bark"])
def test_what_nobody_wants_any_more_is_not_said_to_its_end(
    adapters: dict[str, Adapter[Any, Any]], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item,) = adapters[kind].pre(inputs(TASK, text="ten"), parameters(TASK, max_new_tokens=8))
    steps: list[int] = []
    before = StoppingCriteriaList.__call__

    def counted(self: Any, *given: Any, **more: Any) -> Any:
        steps.append(1)
        item.dropped = len(steps) > 1
        return before(self, *given, **more)

    monkeypatch.setattr(StoppingCriteriaList, "__call__", counted)
    with contextlib.suppress(Dropped):
        adapters[kind].core([item])
    assert len(steps) == 2
