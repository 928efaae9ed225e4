"""Sound from bytes: the allowed formats, their mean over channels, any rate, and nothing else."""

from __future__ import annotations

import base64
import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
import soundfile

from modeldeploy.errors import InputTooLong, InvalidRequest, ModelDeployError, UrlNotAllowed
from modeldeploy.worker.tasks.audio import decode, wav
from tests.models.common import encoded as image_file
from tests.models.sounds import RATE, encoded, noise
from tests.worker.tasks.test_image_classification import picture


def tone(seconds: float = 1.0, rate: int = RATE) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """440 Hz at half of the full scale."""
    at = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)


def test_a_wav_keeps_its_samples() -> None:
    assert np.array_equal(decode(encoded(noise(1)), RATE), noise(1))


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "FLAC", "OGG", "MP3"])
def test_the_allowed_formats_are_decoded(kind: str) -> None:
    found = decode(encoded(tone(), kind), RATE)
    assert abs(len(found) - RATE) < RATE / 20
    assert np.corrcoef(found[2000:14000], tone()[2000:14000])[0, 1] > 0.99 or kind == "MP3"
    assert np.abs(found[2000:14000]).max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_another_rate_becomes_the_models(rate: int) -> None:
    found = decode(encoded(tone(rate=rate), rate=rate), RATE)
    assert len(found) == RATE
    assert found[1000:15000] == pytest.approx(tone()[1000:15000], abs=0.01)


def test_channels_become_their_mean() -> None:
    left, right = noise(0.5, 1), noise(0.5, 2)
    found = decode(encoded(np.stack([left, right], axis=1)), RATE)
    assert found == pytest.approx((left + right) / 2, abs=1e-6)


def test_bytes_base64_and_data_uri_are_one() -> None:
    raw = encoded(noise(0.1))
    text = base64.b64encode(raw).decode()
    for form in (text, f"data:audio/wav;base64,{text}", f"data:audio/x-wav;codecs=1;base64,{text}"):
        assert np.array_equal(decode(form, RATE), decode(raw, RATE))


def test_what_we_write_can_be_read() -> None:
    samples, rate = soundfile.read(io.BytesIO(wav(tone(), RATE)))
    assert rate == RATE
    assert samples == pytest.approx(tone(), abs=1e-4)


def _lying() -> bytes:
    """A header that promises 2^31 bytes of samples, and an end after a few."""
    raw = bytearray(encoded(noise(0.1), "WAV", subtype="PCM_16"))
    raw[40:44] = (0x7FFF0000).to_bytes(4, "little")
    return bytes(raw)


def test_a_header_that_lies_about_the_length() -> None:
    assert len(decode(_lying(), RATE)) == RATE // 10


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])
def test_who_wrote_to_a_pipe_did_not_know_the_length(size: int) -> None:
    raw = bytearray(encoded(noise(0.1), "WAV", subtype="PCM_16"))
    raw[4:8] = raw[40:44] = size.to_bytes(4, "little")
    assert len(decode(bytes(raw), RATE)) == RATE // 10


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("WAV", {"subtype": "PCM_16"}),
        ("WAV", {"subtype": "FLOAT"}),
        ("WAV", {"subtype": "MS_ADPCM"}),
        ("WAV", {"subtype": "PCM_16", "endian": "BIG"}),
        ("WAVEX", {"subtype": "PCM_24"}),
        ("RF64", {"subtype": "PCM_16"}),
        ("FLAC", {}),
    ],
)
def test_half_a_file_is_not_heard_as_a_whole_one(kind: str, how: dict[str, Any]) -> None:
    raw = encoded(noise(2), kind, **how)
    for end in (len(raw) // 2, len(raw) - 400):
        with pytest.raises(InvalidRequest) as refused:
            decode(raw[:end], RATE)
        assert "ends too early" in refused.value.message or kind == "FLAC"
    assert len(decode(raw, RATE)) >= 2 * RATE


def test_what_stands_behind_the_samples_is_no_part_of_them() -> None:
    raw = encoded(noise(0.1), "WAV", subtype="PCM_16")
    tagged = raw + b"LIST\x04\0\0\0INFO"
    assert np.array_equal(decode(tagged, RATE), decode(raw, RATE))


@pytest.mark.parametrize(
    ("audio", "error"),
    [
        ("http://example.com/a.wav", UrlNotAllowed),
        ("file:///etc/passwd", UrlNotAllowed),
        ("/etc/passwd", UrlNotAllowed),
        ("../speech.flac", UrlNotAllowed),
        ("speech.mp3", UrlNotAllowed),
        ("not base64!", InvalidRequest),
        ("aGVsbG8=", InvalidRequest),
        (b"", InvalidRequest),
        (b"RIFF\x24\x00\x00\x00WAVE", InvalidRequest),
        (b"ID3" + b"\0" * 200, InvalidRequest),
        (image_file(picture()), InvalidRequest),
        (encoded(noise(0.1), "AIFF"), InvalidRequest),
        (encoded(noise(0)), InvalidRequest),
        (encoded(np.full(100, np.nan, np.float32)), InvalidRequest),
        (encoded(noise(0.1), rate=500), InvalidRequest),
        (encoded(np.zeros((10, 100), np.float32)), InvalidRequest),
        (encoded(noise(5.1)), InputTooLong),
        (encoded(np.zeros(16_000 * 600, np.float32), "FLAC"), InputTooLong),
    ],
    ids=[str(number) for number in range(18)],  # a sound in an id has the second it was made in
)
def test_what_is_no_sound_is_refused(audio: str | bytes, error: type[ModelDeployError]) -> None:
    with pytest.raises(error) as refused:
        decode(audio, RATE, 5.0)
    assert type(refused.value) is error
    assert refused.value.message.startswith("audio: ")
    assert refused.value.status == 422


def test_hours_in_a_small_file_are_resampled_as_they_are_read() -> None:
    rate, seconds = 192_000, 30
    silent = np.zeros(rate * seconds, np.float32)
    raw = encoded(silent, "FLAC", rate)
    assert len(raw) < 100_000
    tracemalloc.start()
    samples = decode(raw, 8_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(samples) == pytest.approx(8_000 * seconds, abs=8)
    assert most < silent.nbytes / 2
