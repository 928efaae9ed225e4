"""huggingface_hub's and OpenAI's own clients, unmodified, against models that read images and answer in words."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from openai import BadRequestError, OpenAI

from tests.clients.served import served
from tests.models import multimodal
from tests.models.common import encoded
from tests.models.multimodal import picture


def test_image_to_text(tmp_path: Path) -> None:
    with served(multimodal.blip(tmp_path / "m"), "image-to-text") as one:
        client = InferenceClient(model=one.url)
        assert client.image_to_text(encoded(picture())).generated_text
        with pytest.raises(HfHubHTTPError, match="cannot be decoded"):
            client.image_to_text(b"no image")


def test_visual_question_answering(tmp_path: Path) -> None:
    with served(multimodal.vilt(tmp_path / "m"), "visual-question-answering") as one:
        client = InferenceClient(model=one.url)
        found = client.visual_question_answering(encoded(picture()), "Where does Ada live?")
        assert len(found) == 5
        assert {answer.answer for answer in found} == {"yes", "no", "two", "red", "London"}
        assert found[0].score > found[4].score
        best = client.visual_question_answering(encoded(picture()), "Where does Ada live?", top_k=1)
        assert [answer.answer for answer in best] == [found[0].answer]
        with pytest.raises(HfHubHTTPError, match="top_k"):
            client.visual_question_answering(encoded(picture()), "Where?", top_k=0)


def test_visual_answers_that_are_written(tmp_path: Path) -> None:
    with served(multimodal.blip_questions(tmp_path / "m"), "visual-question-answering") as one:
        client = InferenceClient(model=one.url)
        (answer,) = client.visual_question_answering(encoded(picture()), "Where does Ada live?")
        assert answer.answer
        assert 0 < answer.score < 1


def test_document_question_answering(tmp_path: Path) -> None:
    words: list[Any] = [["Total", [60, 800, 150, 830]], ["42", [700, 800, 740, 830]]]
    with served(multimodal.layoutlm(tmp_path / "m"), "document-question-answering") as one:
        client = InferenceClient(model=one.url)
        how: dict[str, Any] = {"image": encoded(picture()), "question": "What is the total?"}
        (best,) = client.document_question_answering(**how, word_boxes=words)
        assert best.answer in {"Total", "42", "Total 42"}
        turns = [part for pair in words for part in pair]
        (same,) = client.document_question_answering(**how, word_boxes=turns)
        assert same == best
        several = client.document_question_answering(
            **how,
            word_boxes=words,
            top_k=3,
            doc_stride=2,
            handle_impossible_answer=True,
            max_answer_len=2,
            max_question_len=20,
            max_seq_len=30,
            lang="en",
        )
        assert len(several) == 3
        with pytest.raises(HfHubHTTPError, match="word_boxes"):
            client.document_question_answering(**how)


def _turn(url: str) -> list[Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What?"}]
    return [{"role": "user", "content": parts}]


def test_conversations_with_images(tmp_path: Path) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(encoded(picture())).decode()}"
    with served(multimodal.llava(tmp_path / "m"), "image-text-to-text") as one:
        with OpenAI(base_url=f"{one.url}/v1", api_key="-", max_retries=0) as client:
            ask = client.chat.completions.create
            whole = ask(model="demo", messages=_turn(uri), max_tokens=8, temperature=0)
            text = whole.choices[0].message.content
            assert whole.usage is not None
            assert whole.usage.completion_tokens == 8
            assert whole.usage.prompt_tokens > 8
            stream = ask(
                model="demo", messages=_turn(uri), max_tokens=8, temperature=0, stream=True
            )
            assert "".join(event.choices[0].delta.content or "" for event in stream) == text
            with pytest.raises(BadRequestError, match="not opened"):
                ask(model="demo", messages=_turn("http://example.com/cat.png"))
        hub = InferenceClient(model=one.url)
        same = hub.chat_completion(_turn(uri), max_tokens=8, temperature=0)
        assert same.choices[0].message.content == text
