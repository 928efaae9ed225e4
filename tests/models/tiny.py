"""Tiny models made on the spot, seeded: real architectures, real files, meaningless weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

CORPUS = [
    "Ada moved from Paris to London, where she lives with her sister.",
    "Once upon a time there was a small model that could only count to ten.",
    "I love this product! This is terrible. not bad at all",
    "Where does Ada live? What can the model do?",
]


def _byte_level(special: Sequence[str] = ("<|endoftext|>",)) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    from tokenizers import decoders

    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[*special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special[0],
        eos_token=special[0],
        model_max_length=64,
    )


def _word_piece() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


def _bert_config(tokenizer: PreTrainedTokenizerFast, **more: object) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        **more,
    )


def gpt2(folder: Path) -> Path:
    """A text generator of 64 positions."""
    return _gpt2(folder, 64, None)


CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('the system speaks first') }}{% endif %}"
    "{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
)


def chat(folder: Path) -> Path:
    """The same with a chat template, and a window that holds a conversation."""
    return _gpt2(folder, 256, CHAT_TEMPLATE)


def _gpt2(folder: Path, positions: int, template: str | None) -> Path:
    torch.manual_seed(0)
    tokenizer = _byte_level()
    tokenizer.model_max_length = positions
    tokenizer.chat_template = template
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=positions,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    return _save(folder, GPT2LMHeadModel(config), tokenizer)


def question_answering(folder: Path) -> Path:
    """A span finder of 64 positions."""
    torch.manual_seed(0)
    tokenizer = _word_piece()
    return _save(folder, BertForQuestionAnswering(_bert_config(tokenizer)), tokenizer)


def classifier(folder: Path) -> Path:
    """A classifier with two labels and 64 positions."""
    torch.manual_seed(0)
    tokenizer = _word_piece()
    config = _bert_config(tokenizer, id2label={0: "BAD", 1: "GOOD"}, label2id={"BAD": 0, "GOOD": 1})
    return _save(folder, BertForSequenceClassification(config), tokenizer)


def _save(folder: Path, model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> Path:
    model.eval()
    model.save_pretrained(folder)  # type: ignore[operator]  # a PreTrainedModel, which mypy does not follow
    tokenizer.save_pretrained(folder)
    return folder
