"""Tiny models made on the spot, seeded: real architectures, real files, meaningless weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from tests.models.common import save

CORPUS = [
    "Ada moved from Paris to London, where she lives with her sister.",
    "Once upon a time there was a small model that could only count to ten.",
    "I love this product! This is terrible. not bad at all",
    "Where does Ada live? What can the model do?",
]


def byte_level(special: Sequence[str] = ("<|endoftext|>",)) -> PreTrainedTokenizerFast:
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


def word_piece() -> PreTrainedTokenizerFast:
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
    tokenizer = byte_level()
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
    return save(folder, GPT2LMHeadModel(config), tokenizer)


def llama(folder: Path) -> Path:
    """A decoder whose layers are all linear ones."""
    tokenizer = byte_level()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    return save(folder, LlamaForCausalLM(config), tokenizer)


def question_answering(folder: Path) -> Path:
    """A span finder of 64 positions."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    return save(folder, BertForQuestionAnswering(_bert_config(tokenizer)), tokenizer)


def classifier(folder: Path) -> Path:
    """A classifier with two labels and 64 positions."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    config = _bert_config(tokenizer, id2label={0: "BAD", 1: "GOOD"}, label2id={"BAD": 0, "GOOD": 1})
    return save(folder, BertForSequenceClassification(config), tokenizer)


TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def tagger(folder: Path) -> Path:
    """A token classifier with the usual tags."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    config = _bert_config(tokenizer, id2label=dict(enumerate(TAGS)))
    config.initializer_range = 0.5  # so that tags differ
    return save(folder, BertForTokenClassification(config), tokenizer)


def gap_filler(folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = word_piece()
    return save(folder, BertForMaskedLM(_bert_config(tokenizer)), tokenizer)


def entailer(folder: Path) -> Path:
    """A classifier with the labels of natural language inference."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    names = {0: "contradiction", 1: "neutral", 2: "entailment"}
    config = _bert_config(
        tokenizer, id2label=names, label2id={name: at for at, name in names.items()}
    )
    return save(folder, BertForSequenceClassification(config), tokenizer)


def cross_encoder(folder: Path) -> Path:
    """A classifier with one score, for pairs."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    return save(
        folder, BertForSequenceClassification(_bert_config(tokenizer, num_labels=1)), tokenizer
    )


def sentence_encoder(folder: Path, pooling: str) -> Path:
    """A sentence-transformers model: pooling without its prompt, a dense layer, length 1."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    save(folder, BertModel(_bert_config(tokenizer)), tokenizer)
    base = "sentence_transformers.models"
    modules = ["Transformer", "Pooling", "Dense", "Normalize"]
    _write(
        folder / "modules.json",
        [
            {
                "idx": at,
                "name": str(at),
                "path": f"{at}_{kind}" if at else "",
                "type": f"{base}.{kind}",
            }
            for at, kind in enumerate(modules)
        ],
    )
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"prompts": {"query": "where: "}})
    flag = pooling if pooling in {"lasttoken", "cls_token"} else f"{pooling}_tokens"
    flag = {"cls": "cls_token", "mean_sqrt_len_tokens": pooling}.get(pooling, flag)
    _write(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": 32,
            "pooling_mode_mean_tokens": False,
            f"pooling_mode_{flag}": True,
            "include_prompt": False,
        },
    )
    activation = "torch.nn.modules.activation.Tanh"
    _write(
        folder / "2_Dense" / "config.json",
        {"in_features": 32, "out_features": 16, "bias": True, "activation_function": activation},
    )
    layer = torch.nn.Linear(32, 16)
    tensors = {"linear.weight": layer.weight.detach(), "linear.bias": layer.bias.detach()}
    save_file(tensors, folder / "2_Dense" / "model.safetensors")
    return folder


def albert(folder: Path) -> Path:
    """An encoder whose pooler is a bare linear layer."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    config = AlbertConfig(
        vocab_size=len(tokenizer),
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    return save(folder, AlbertModel(config), tokenizer)


def _write(file: Path, content: object) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
