from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

from modeldeploy.errors import InputTooLong, InvalidRequest, WrongTask
from modeldeploy.schema.tasks.audio import GenerationParameters, Transcript
from tests.models import sounds, tiny
from tests.models.sounds import encoded, noise
from tests.worker.adapters import AnyAdapter, inputs, loaded, parameters, predict

TASK = "automatic-speech-recognition"


def hear(adapter: AnyAdapter, samples: sounds.Samples, **how: Any) -> Transcript:
    found = predict(adapter, inputs(TASK, audio=encoded(samples)), parameters(TASK, **how))
    assert isinstance(found, Transcript)
    return found


def of_pipeline(folder: Path, samples: sounds.Samples, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = pipeline(TASK, model=str(folder), device="cpu", dtype="float32")(
        samples.copy(), **how
    )
    return found


def plain(found: Transcript) -> dict[str, Any]:
    """As the pipeline writes it."""
    if found.chunks is None:
        return {"text": found.text}
    chunks = [{"text": one.text, "timestamp": tuple(one.timestamp)} for one in found.chunks]
    return {"text": found.text, "chunks": chunks}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("speech")
    return {
        "layer": sounds.ctc(root / "layer"),
        "group": sounds.ctc(root / "group", "group"),
        "whisper": sounds.whisper(root / "whisper"),
    }


@pytest.fixture(scope="module")
def adapters(folders: dict[str, Path]) -> dict[str, AnyAdapter]:
    return {name: loaded(folder, TASK) for name, folder in folders.items()}


@pytest.mark.parametrize("kind", ["layer", "group"])
@pytest.mark.parametrize("how", [{}, {"return_timestamps": "char"}, {"return_timestamps": "word"}])
def test_ctc_as_the_pipeline(
    folders: dict[str, Path], adapters: dict[str, AnyAdapter], kind: str, how: dict[str, Any]
) -> None:
    samples = noise(2.2)
    expected = of_pipeline(folders[kind], samples, **how)
    assert len(expected["text"]) > 10
    assert plain(hear(adapters[kind], samples, **how)) == expected


@pytest.mark.parametrize("kind", ["layer", "group"])
def test_long_audio_in_parts_as_the_pipeline(
    folders: dict[str, Path], adapters: dict[str, AnyAdapter], kind: str
) -> None:
    samples = noise(7.3, 1)
    for how in (
        {"chunk_length_s": 2.0},
        {"chunk_length_s": 3.0, "stride_length_s": 0.5, "return_timestamps": "word"},
    ):
        expected = of_pipeline(folders[kind], samples, **how)
        assert plain(hear(adapters[kind], samples, **how)) == expected


def test_more_than_half_a_minute_is_heard_in_parts(adapters: dict[str, AnyAdapter]) -> None:
    items = adapters["layer"].pre(inputs(TASK, audio=encoded(noise(50))), parameters(TASK))
    assert [item.size for item in items] == [30, 30]


@pytest.mark.parametrize("kind", ["layer", "group", "whisper"])
def test_a_batch_says_what_its_items_say_alone(adapters: dict[str, AnyAdapter], kind: str) -> None:
    adapter = adapters[kind]
    lengths = (1.0, 1.7, 2.45) if kind != "group" else (1.5, 1.5, 1.5)
    items = [
        adapter.pre(inputs(TASK, audio=encoded(noise(seconds, at))), parameters(TASK))[0]
        for at, seconds in enumerate(lengths)
    ]
    assert len({item.key for item in items}) == 1
    how = parameters(TASK)
    texts = [adapter.post([raw], None, how).text for raw in adapter.core(items)]
    alone = [adapter.post(adapter.core([item]), None, how).text for item in items]
    assert texts == alone
    assert len(set(texts)) > 1


def test_sounds_that_padding_would_change_do_not_share_a_call(
    adapters: dict[str, AnyAdapter],
) -> None:
    made = [
        adapters["group"].pre(inputs(TASK, audio=encoded(noise(s))), parameters(TASK))[0]
        for s in (1.0, 1.1)
    ]
    assert made[0].key != made[1].key


# It divides by the number of its new tokens, which may be none in a part.
@pytest.mark.filterwarnings("ignore:std.*degrees of freedom")
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"return_timestamps": True},
        {"return_timestamps": "word"},
        {"language": "fr", "task": "translate"},
        {"language": "French"},
        {"num_beams": 1, "max_new_tokens": 7},
    ],
)
def test_whisper_as_the_pipeline(
    folders: dict[str, Path], adapters: dict[str, AnyAdapter], how: dict[str, Any]
) -> None:
    samples = noise(3.1)
    steering = {key: value for key, value in how.items() if key != "return_timestamps"}
    asked = {key: value for key, value in how.items() if key == "return_timestamps"}
    expected = of_pipeline(folders["whisper"], samples, generate_kwargs=steering, **asked)
    assert expected["text"]
    assert plain(hear(adapters["whisper"], samples, **how)) == expected


def test_whisper_hears_long_audio_at_its_own_pace(
    folders: dict[str, Path], adapters: dict[str, AnyAdapter]
) -> None:
    samples = noise(41, 2)
    how = {"return_timestamps": True, "num_beams": 1}
    expected = of_pipeline(
        folders["whisper"], samples, return_timestamps=True, generate_kwargs={"num_beams": 1}
    )
    assert plain(hear(adapters["whisper"], samples, **how)) == expected


@pytest.mark.filterwarnings("ignore:.*chunk_length_s.*")
def test_whisper_in_parts_as_the_pipeline(
    folders: dict[str, Path], adapters: dict[str, AnyAdapter]
) -> None:
    samples = noise(8, 4)
    how = {"chunk_length_s": 5, "return_timestamps": True}
    expected = of_pipeline(folders["whisper"], samples, **how, generate_kwargs={"num_beams": 1})
    assert plain(hear(adapters["whisper"], samples, **how, num_beams=1)) == expected


@pytest.mark.parametrize(
    ("kind", "how", "word"),
    [
        ("layer", {"language": "en"}, "language"),
        ("layer", {"num_beams": 2}, "num_beams"),
        ("layer", {"return_timestamps": True}, "return_timestamps"),
        ("layer", {"chunk_length_s": 2, "stride_length_s": 1}, "stride_length_s"),
        ("layer", {"chunk_length_s": 0.02, "stride_length_s": 0.0}, "chunk_length_s"),
        (
            "layer",
            {"generation_parameters": GenerationParameters(num_beams=2)},
            "generation_parameters",
        ),
        (
            "whisper",
            {"generation_parameters": GenerationParameters(max_new_tokens=400)},
            "max_new_tokens",
        ),
        ("whisper", {"return_timestamps": "char"}, "return_timestamps"),
        ("whisper", {"language": "klingon"}, "language"),
        ("whisper", {"max_new_tokens": 400}, "max_new_tokens"),
        ("whisper", {"chunk_length_s": 31}, "chunk_length_s"),
    ],
)
def test_what_a_model_cannot_do_is_named(
    adapters: dict[str, AnyAdapter], kind: str, how: dict[str, Any], word: str
) -> None:
    with pytest.raises(InvalidRequest, match=word) as refused:
        hear(adapters[kind], noise(1), **how)
    assert refused.value.status == 422
    assert refused.value.hint


def test_too_short_and_too_long(
    adapters: dict[str, AnyAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidRequest, match="samples"):
        hear(adapters["layer"], noise(0.01))
    monkeypatch.setattr(type(adapters["layer"]), "longest", 2.0)
    with pytest.raises(InputTooLong, match="2 seconds"):
        hear(adapters["layer"], noise(2.1))


def test_a_model_that_does_not_hear_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongTask):
        loaded(tiny.gpt2(tmp_path), TASK)


def test_a_classifier_is_no_recogniser(tmp_path: Path) -> None:
    with pytest.raises(WrongTask, match="Wav2Vec2ForSequenceClassification"):
        loaded(sounds.classifier(tmp_path), TASK)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"max_length": 9}, {"max_new_tokens": 8}),
        ({"max_length": 9, "max_new_tokens": 5}, {"max_new_tokens": 5}),
        ({"max_length": 4000}, {"max_new_tokens": 44}),
        ({"num_beams": 3, "early_stopping": True}, {"num_beams": 3, "early_stopping": True}),
        ({"num_beams": 1, "min_new_tokens": 10}, {"num_beams": 1, "min_new_tokens": 10}),
        ({"use_cache": True, "penalty_alpha": 0.0, "num_beam_groups": 1}, {}),
    ],
)
def test_whisper_decodes_as_generate_would(
    folders: dict[str, Path],
    adapters: dict[str, AnyAdapter],
    asked: dict[str, Any],
    told: dict[str, Any],
) -> None:
    sound = noise(2)
    expected = of_pipeline(folders["whisper"], sound, generate_kwargs=told)["text"]
    how = {"generation_parameters": GenerationParameters(**asked)}
    assert hear(adapters["whisper"], sound, **how).text == expected


@pytest.mark.parametrize(
    "asked", [{"do_sample": True}, {"temperature": 2.0}, {"typical_p": 0.9, "top_k": 40}]
)
def test_whisper_samples_when_asked(adapters: dict[str, AnyAdapter], asked: dict[str, Any]) -> None:
    how = {"generation_parameters": GenerationParameters(**asked)}
    assert len({hear(adapters["whisper"], noise(2), **how).text for _ in range(4)}) > 1
    off = {"generation_parameters": GenerationParameters(**{**asked, "do_sample": False})}
    assert len({hear(adapters["whisper"], noise(2), **off).text for _ in range(2)}) == 1
