"""huggingface_hub's own client, unmodified, against models that make a new text of a text."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.clients.served import served
from tests.models import seq2seq


def test_summarization(tmp_path: Path) -> None:
    with served(seq2seq.t5(tmp_path / "m"), "summarization") as one:
        client = InferenceClient(model=one.url)
        plain = client.summarization("Ada moved from Paris to London.").summary_text
        assert plain
        how = {"max_new_tokens": 3, "num_beams": 1}
        short = client.summarization("Ada moved from Paris to London.", generate_parameters=how)
        assert len(short.summary_text) < len(plain)
        cut = client.summarization(
            "Once upon a time " * 50, truncation="longest_first", clean_up_tokenization_spaces=True
        )
        assert cut.summary_text
        with pytest.raises(HfHubHTTPError, match="window is 64"):
            client.summarization("Once upon a time " * 50)
        with pytest.raises(HfHubHTTPError, match="num_beams"):
            client.summarization("Ada", generate_parameters={"num_beams": 1000})
        with pytest.raises(HfHubHTTPError, match="zork"):
            client.summarization("Ada", generate_parameters={"zork": 1})


def test_translation(tmp_path: Path) -> None:
    with served(seq2seq.nllb(tmp_path / "m"), "translation") as one:
        client = InferenceClient(model=one.url)
        found = {
            client.translation(
                "Ada lives in London.",
                src_lang="eng_Latn",
                tgt_lang=target,
                generate_parameters={"max_new_tokens": 8},
            ).translation_text
            for target in ("fra_Latn", "deu_Latn")
        }
        assert len(found) == 2
        assert client.translation("Ada lives in London.").translation_text
        with pytest.raises(HfHubHTTPError, match="tgt_lang"):
            client.translation("Ada", src_lang="eng_Latn", tgt_lang="tlh")


def test_text2text_generation_whose_method_the_client_has_no_more(tmp_path: Path) -> None:
    with served(seq2seq.bart(tmp_path / "m"), "text2text-generation") as one:
        body = {"inputs": ["Ada lives in London.", "ten"], "parameters": {"max_new_tokens": 4}}
        request = Request(one.url, json.dumps(body).encode(), {"content-type": "application/json"})
        with urlopen(request) as answer:
            found = json.load(answer)
        assert [list(text) for text in found] == [["generated_text"]] * 2
