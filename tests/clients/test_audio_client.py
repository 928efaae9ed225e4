"""huggingface_hub's own client, unmodified: speech to text and back, and what a sound is of."""

from __future__ import annotations

import base64
import http.client
import io
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import soundfile
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.clients.served import served
from tests.models import sounds
from tests.models.sounds import encoded, noise


def ask(url: str, body: bytes, kind: str = "application/json") -> Any:
    request = urllib.request.Request(url, body, {"content-type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_speech_recognition(tmp_path: Path) -> None:
    sound = encoded(noise(1.5), "FLAC")
    file = tmp_path / "speech.flac"
    file.write_bytes(sound)
    with served(sounds.ctc(tmp_path / "m"), "automatic-speech-recognition") as one:
        client = InferenceClient(model=one.url)
        said = client.automatic_speech_recognition(sound)
        assert len(said.text) > 5
        assert said.chunks is None
        assert client.automatic_speech_recognition(str(file)).text == said.text
        timed = client.automatic_speech_recognition(sound, extra_body={"return_timestamps": "word"})
        assert timed.text == said.text
        assert timed.chunks
        assert "".join(chunk.text for chunk in timed.chunks) == said.text.replace(" ", "")
        with pytest.raises(HfHubHTTPError, match="language"):
            client.automatic_speech_recognition(sound, extra_body={"language": "en"})
        with pytest.raises(HfHubHTTPError, match="cannot be decoded"):
            client.automatic_speech_recognition(b"no sound at all")
        text = base64.b64encode(sound).decode()
        several = ask(f"{one.url}/predict", json.dumps({"audios": [text, text]}).encode())
        assert several["result"] == [{"text": said.text}] * 2


def test_audio_classification(tmp_path: Path) -> None:
    with served(sounds.classifier(tmp_path / "m"), "audio-classification") as one:
        client = InferenceClient(model=one.url)
        sound = encoded(noise(1), "MP3")
        found = client.audio_classification(sound)
        assert len(found) == 3
        assert sum(label.score for label in found) == pytest.approx(1, abs=1e-5)
        best = client.audio_classification(sound, top_k=1, function_to_apply="sigmoid")
        assert [label.label for label in best] == [found[0].label]
        by_bytes = ask(f"{one.url}/predict", sound, "audio/mpeg")["result"]
        assert [label["label"] for label in by_bytes] == [label.label for label in found]


def test_text_to_speech(tmp_path: Path) -> None:
    with served(sounds.vits(tmp_path / "m"), "text-to-speech") as one:
        client = InferenceClient(model=one.url)
        heard = client.text_to_speech("hello there", extra_body={"seed": 3})
        samples, rate = soundfile.read(io.BytesIO(heard))
        assert rate == sounds.RATE
        assert len(samples) > 50
        again = ask(f"{one.url}/predict", b'{"text": "hello there", "seed": 3}')["result"]
        assert again["sampling_rate"] == rate
        assert base64.b64decode(again["audio"]) == heard
        for refused in ({"temperature": 0.5}, {"num_beams": 2}, {"typical_p": 0.5}):
            with pytest.raises(HfHubHTTPError, match=f"{next(iter(refused))}: this model"):
                client.text_to_speech("hello", **refused)


def test_text_to_speech_decodes_as_asked(tmp_path: Path) -> None:
    with served(sounds.musicgen(tmp_path / "m"), "text-to-speech") as one:
        client = InferenceClient(model=one.url)
        heard = client.text_to_speech(
            "hello there",
            do_sample=True,
            temperature=1.5,
            top_k=20,
            top_p=0.9,
            typical_p=0.9,
            epsilon_cutoff=0.0003,
            eta_cutoff=0.0003,
            max_length=9,
            max_new_tokens=8,
            min_length=2,
            min_new_tokens=2,
            num_beam_groups=1,
            penalty_alpha=0.0,
            use_cache=True,
        )
        assert len(soundfile.read(io.BytesIO(heard))[0]) > 50
        with pytest.raises(HfHubHTTPError, match="penalty_alpha"):
            client.text_to_speech("hello", penalty_alpha=0.6)


def test_speech_recognition_decodes_as_asked(tmp_path: Path) -> None:
    with served(sounds.whisper(tmp_path / "m"), "automatic-speech-recognition") as one:
        client = InferenceClient(model=one.url)
        sound = encoded(noise(1.5), "FLAC")
        body = {"generation_parameters": {"max_new_tokens": 4, "num_beams": 1}}
        short = client.automatic_speech_recognition(sound, extra_body=body)
        flat = {"max_new_tokens": 4, "num_beams": 1}
        assert client.automatic_speech_recognition(sound, extra_body=flat).text == short.text
        assert client.automatic_speech_recognition(sound).text != short.text
        wrong = {"generation_parameters": {"zork": 1}}
        with pytest.raises(HfHubHTTPError, match="zork"):
            client.automatic_speech_recognition(sound, extra_body=wrong)


def test_a_sound_comes_in_the_form_that_is_accepted(tmp_path: Path) -> None:
    with served(sounds.vits(tmp_path / "m"), "text-to-speech") as one:
        bare, native = b'{"inputs": "hello", "parameters": {"seed": 3}}', b'{"text": "hello"}'

        def told(path: str, body: bytes, accept: str) -> tuple[int, str, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=60)
            headers = {"content-type": "application/json", "accept": accept}
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            if answer.status == 406:
                assert answer.headers["x-inference-time-ms"] == "0.000"
            found = answer.status, answer.headers["content-type"], answer.read()
            connection.close()
            return found

        for path in ("/", "/predict"):
            for accept in ("*/*", "audio/*", "audio/wav, application/json"):
                assert told(path, bare, accept)[:2] == (200, "audio/wav")
            for accept in ("application/json", "*/*, audio/wav;q=0"):
                status, kind, raw = told(path, bare, accept)
                assert (status, kind) == (200, "application/json")
                sound = json.loads(raw)
                assert sound["sampling_rate"] == sounds.RATE
                assert base64.b64decode(sound["audio"]) == told(path, bare, "*/*")[2]
            assert told(path, b'{"inputs": ["a", "b"]}', "audio/wav")[0] == 406
        assert told("/predict", native, "audio/wav")[0] == 406
        assert told("/predict", native, "*/*")[:2] == (200, "application/json")


def test_zero_shot_audio_classification(tmp_path: Path) -> None:
    labels = ["a dog", "a cat"]
    text = base64.b64encode(encoded(noise(0.5))).decode()
    with served(sounds.clap(tmp_path / "m"), "zero-shot-audio-classification") as one:
        body = {"inputs": text, "parameters": {"candidate_labels": labels}}
        found = ask(one.url, json.dumps(body).encode())
        assert {label["label"] for label in found} == set(labels)
        native = {"audio": text, "candidate_labels": labels}
        assert ask(f"{one.url}/predict", json.dumps(native).encode())["result"] == found
