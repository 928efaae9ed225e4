"""What is asked, and of which models: seeded, made on the spot, the same for whoever is measured."""

from __future__ import annotations

import base64
import io
import random
from pathlib import Path

from tests.models import minilm

COUNT = 500
_WORDS = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
]


def texts(count: int = COUNT, longest: int = 117) -> list[str]:
    """``count`` texts of 1 to ``longest`` common words: as many tokens, and the two around them."""
    chooser = random.Random(20)
    return [" ".join(chooser.choices(_WORDS, k=chooser.randint(1, longest))) for _ in range(count)]


def embedder(folder: Path) -> Path:
    """all-MiniLM-L6-v2, 22 M parameters."""
    return minilm.folder()


def classifier(folder: Path) -> Path:
    """DistilBERT's shape, 66 M parameters, random weights, a real tokenizer."""
    import torch
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertForSequenceClassification

    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(minilm.folder())
        config = DistilBertConfig(vocab_size=len(tokenizer))
        DistilBertForSequenceClassification(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def image_classifier(folder: Path) -> Path:
    """ViT-small's shape, 22 M parameters, random weights."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        config = ViTConfig(
            hidden_size=384,
            num_hidden_layers=12,
            num_attention_heads=6,
            intermediate_size=1536,
            num_labels=1000,
        )
        ViTImageProcessorPil().save_pretrained(folder)
        ViTForImageClassification(config).save_pretrained(folder)
    return folder


def images(count: int = 100) -> list[str]:
    """JPEGs of coloured blocks, 400 x 300, in base64."""
    from PIL import Image

    chooser = random.Random(20)
    found = []
    for _ in range(count):
        blocks = Image.frombytes("RGB", (8, 6), chooser.randbytes(8 * 6 * 3))
        file = io.BytesIO()
        blocks.resize((400, 300), Image.Resampling.BICUBIC).save(file, "JPEG")
        found.append(base64.b64encode(file.getvalue()).decode())
    return found


MODELS = {
    "embeddings": (embedder, "feature-extraction"),
    "classification": (classifier, "text-classification"),
}
