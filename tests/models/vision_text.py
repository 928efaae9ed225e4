"""Tiny seeded models that take images and texts together."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

from tests.models.vision import WIDTH, save

_CHARACTERS = string.ascii_letters + string.digits + " .,!?"
VOCABULARY = ["<pad>", "<unk>", "<start>", *_CHARACTERS, "<end>"]
END = len(VOCABULARY) - 1
_TEXT: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": WIDTH,
    "max_position_embeddings": 64,
    "bos_token_id": 2,
    "eos_token_id": END,
    "pad_token_id": 0,
}
_VISION: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": WIDTH,
    "image_size": 32,
    "patch_size": 8,
}
_SIZE = {"height": 32, "width": 32}


def tokenizer(*names: str) -> Any:
    """A token for each character; its end token has the highest id, as CLIP's has."""
    made = Tokenizer(
        models.WordLevel({word: at for at, word in enumerate(VOCABULARY)}, unk_token="<unk>")
    )
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    made.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 2), ("<end>", END)]
    )
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
        model_max_length=64,
        model_input_names=list(names or ("input_ids", "attention_mask")),
    )


def clip(folder: Path) -> Path:
    """Compares images with texts of at most 64 characters."""
    torch.manual_seed(0)
    config = tf.CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=16)
    processor = tf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SIZE)
    return save(folder, tf.CLIPModel(config), processor, tokenizer())


def siglip(folder: Path) -> Path:
    """Compares images with texts of 64 tokens."""
    torch.manual_seed(1)
    config = tf.SiglipConfig(text_config=_TEXT, vision_config=_VISION)
    processor = tf.SiglipImageProcessorPil(size=_SIZE)
    return save(folder, tf.SiglipModel(config), processor, tokenizer("input_ids"))


def owlvit(folder: Path) -> Path:
    """Finds in 16 places of an image what a text names."""
    torch.manual_seed(2)
    config = tf.OwlViTConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=WIDTH)
    processor = tf.OwlViTImageProcessorPil(size=_SIZE)
    return save(folder, tf.OwlViTForObjectDetection(config), processor, tokenizer())


def grounding_dino(folder: Path) -> Path:
    """Finds up to 6 places of an image that a text names."""
    torch.manual_seed(3)
    config = tf.GroundingDinoConfig(
        backbone_config=tf.SwinConfig(
            image_size=64,
            patch_size=4,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=2,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=tf.BertConfig(**_TEXT),
        d_model=WIDTH,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=WIDTH,
        decoder_ffn_dim=WIDTH,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=6,
        max_text_len=64,
        num_feature_levels=3,
    )
    processor = tf.GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128})
    names = ("input_ids", "token_type_ids", "attention_mask")
    return save(folder, tf.GroundingDinoForObjectDetection(config), processor, tokenizer(*names))
