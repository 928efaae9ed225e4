"""Tiny encoder-decoders made on the spot, seeded: they write nonsense, each text its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    NllbTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.models.common import save
from tests.models.tiny import CORPUS

_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
_PREFIXES = [
    "summarize: ",
    "translate English to German: ",
    "translate English to French: ",
]
LANGUAGES = ["eng_Latn", "fra_Latn", "deu_Latn", "zho_Hans", "zho_Hant"]
_SIZES: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "init_std": 0.8,  # far from the usual 0.02: so that different texts are answered differently
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}


def _pieces() -> Tokenizer:
    """A BPE of words with their leading space, as the sentencepiece models have it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=250, special_tokens=_SPECIAL)
    tokenizer.train_from_iterator([*CORPUS, *_PREFIXES], trainer)
    return tokenizer


def _tokenizer(template: str, **more: Any) -> PreTrainedTokenizerFast:
    tokenizer = _pieces()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{
            "bos_token": "<s>",
            "pad_token": "<pad>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "model_max_length": 64,
            **more,
        },
    )


def t5(folder: Path) -> Path:
    """With settings for summaries and two translations, as T5's own config has them."""
    torch.manual_seed(0)
    tokenizer = _tokenizer("$A </s>")
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=2,
        num_heads=2,
        initializer_factor=3.0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        task_specific_params={
            "summarization": {
                "prefix": _PREFIXES[0],
                "num_beams": 2,
                "max_length": 12,
                "min_length": 4,
                "no_repeat_ngram_size": 2,
            },
            "translation_en_to_de": {"prefix": _PREFIXES[1], "max_length": 9, "num_beams": 1},
            "translation_en_to_fr": {"prefix": _PREFIXES[2], "max_length": 9, "num_beams": 1},
        },
    )
    return save(folder, T5ForConditionalGeneration(config), tokenizer)


def bart(folder: Path) -> Path:
    """64 positions; it likes to end, so rows end at different places."""
    torch.manual_seed(0)
    tokenizer = _tokenizer("<s> $A </s>")
    config = BartConfig(
        vocab_size=len(tokenizer), decoder_start_token_id=2, forced_eos_token_id=2, **_SIZES
    )
    model = BartForConditionalGeneration(config)
    model.final_logits_bias[0, 2] = 5.0
    return save(folder, model, tokenizer)


def marian(folder: Path) -> Path:
    """One pair of languages, English to German."""
    torch.manual_seed(0)
    tokenizer = _tokenizer("$A </s>", source_lang="en", target_lang="de")
    config = MarianConfig(
        vocab_size=len(tokenizer),
        decoder_vocab_size=len(tokenizer),
        decoder_start_token_id=1,
        **_SIZES,
    )
    model = MarianMTModel(config)
    model.generation_config.bad_words_ids = [[1]]  # as Marian's are: never padding
    return save(folder, model, tokenizer)


def mbart50(folder: Path) -> Path:
    """mBART's 52 languages, ``en_XX`` and so on."""
    torch.manual_seed(0)
    pieces = [(piece, -1.0) for piece in sorted(_pieces().get_vocab()) if piece not in _SPECIAL]
    tokenizer = MBart50Tokenizer(
        vocab=[("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *pieces], model_max_length=64
    )
    config = MBartConfig(vocab_size=len(tokenizer), decoder_start_token_id=2, **_SIZES)
    return save(folder, MBartForConditionalGeneration(config), tokenizer)


def nllb(folder: Path) -> Path:
    """NLLB: M2M100's model with :data:`LANGUAGES`."""
    torch.manual_seed(0)
    pieces = _pieces()
    vocabulary: dict[str, int] = pieces.get_vocab()
    tokenizer = NllbTokenizer(
        vocab=vocabulary, merges=[], additional_special_tokens=LANGUAGES, model_max_length=64
    )
    config = M2M100Config(vocab_size=len(tokenizer), decoder_start_token_id=2, **_SIZES)
    return save(folder, M2M100ForConditionalGeneration(config), tokenizer)
