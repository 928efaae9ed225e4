"""Sound from bytes, decoded by us: never a URL, never a path, nothing longer than it looks."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.worker.adapter import Dropped
from modeldeploy.worker.effort import spend
from modeldeploy.worker.tasks import riff
from modeldeploy.worker.tasks.encoded import Medium

Samples = npt.NDArray[np.float32]

FORMATS = ("WAV", "FLAC", "OGG", "MP3")
MAX_SECONDS = 3600.0
RATES = (1_000, 768_000)
MAX_CHANNELS = 64
AUDIO = Medium("audio", r"wav|flac|ogg|oga|opus|mp3|m4a|aac|webm")
_CONTAINERS = frozenset({*FORMATS, "WAVEX", "RF64"})  # the last two are WAV's larger brothers
_BLOCK = 1 << 16
_UNKNOWN_FRAMES = 1 << 40


def decode(audio: str | bytes, rate: int, max_seconds: float = MAX_SECONDS) -> Samples:
    """One channel, the mean of all, at ``rate`` samples a second, between -1 and 1.

    Raises:
        UrlNotAllowed: it names a place instead of being sound. InvalidRequest: it is none of the
            allowed formats, damaged, empty, or not base64. InputTooLong: it is longer than
            ``max_seconds``.
    """
    return AUDIO.decoded(audio, lambda raw: _open(raw, rate, max_seconds))


def wav(samples: Samples, rate: int) -> bytes:
    """A WAV file, 16 bit, of samples of shape (frames,) or (frames, channels)."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _open(raw: bytes, rate: int, max_seconds: float) -> Samples:
    try:
        with soundfile.SoundFile(io.BytesIO(raw)) as file:
            _check(file)
            samples, read = _mono(file, rate, max_seconds)
            _check_end(riff.missing_frames(raw) or _missing(file, read))
    except (InvalidRequest, Dropped):
        raise
    except Exception as error:  # libsndfile raises whatever a damaged file leads it to
        raise _undecodable(type(error).__name__) from error
    if not len(samples):
        raise InvalidRequest("audio: it has no samples, or too few", hint=AUDIO.send)
    if not np.isfinite(samples).all():
        raise InvalidRequest("audio: some of its samples are not numbers", hint=AUDIO.send)
    return samples


def _undecodable(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"audio: it cannot be decoded ({why}); allowed are {', '.join(FORMATS)}", hint=AUDIO.send
    )


def _check(file: soundfile.SoundFile) -> None:
    if file.format not in _CONTAINERS:
        raise _undecodable(f"it is {file.format}")
    low, high = RATES
    if not low <= file.samplerate <= high:
        raise InvalidRequest(
            f"audio: it has {file.samplerate} samples a second, allowed are {low} to {high}",
            hint="resample it",
        )
    if file.channels > MAX_CHANNELS:
        raise InvalidRequest(
            f"audio: it has {file.channels} channels, the limit is {MAX_CHANNELS}",
            hint="mix it down",
        )


def _missing(file: soundfile.SoundFile, read: int) -> int:
    """Frames that a FLAC's header promises and that were not read. An OGG and an MP3 promise none,
    and neither does a FLAC that was made in one go."""
    promised = int(file.frames)
    return promised - read if file.format == "FLAC" and promised < _UNKNOWN_FRAMES else 0


def _check_end(missing: int) -> None:
    if missing > 0:
        raise InvalidRequest(
            f"audio: the file ends too early: {missing} samples are missing",
            hint="send the whole file",
        )


def _mono(file: soundfile.SoundFile, rate: int, max_seconds: float) -> tuple[Samples, int]:
    """The mean of the channels, at ``rate``: read and resampled block by block, because a small
    file may be hours long, and what a header says of the length may be a lie. And the frames
    that were read."""
    most, count = int(max_seconds * file.samplerate), 0
    stream = soxr.ResampleStream(file.samplerate, rate, 1, dtype="float32")
    blocks = []
    for block in file.blocks(_BLOCK, dtype="float32", always_2d=True):
        count += len(block)
        spend(len(block), "samples")
        if count > most:
            raise InputTooLong(
                f"audio: it is longer than {max_seconds:g} seconds, the limit here",
                hint="send a shorter part of it",
            )
        samples = block.mean(axis=1, dtype=np.float32)
        blocks.append(samples if file.samplerate == rate else stream.resample_chunk(samples))
    if file.samplerate != rate:
        blocks.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    return (np.concatenate(blocks) if blocks else np.zeros(0, np.float32)), count
