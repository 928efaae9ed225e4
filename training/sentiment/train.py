"""Trains `modeldeploy/builtin/sentiment` from scratch: `python -m training.sentiment.train`.

About a minute; needs `pip install -r training/requirements.txt`. `training.sentiment.card` then
measures the result and writes the model card. Every draw is seeded and the number of steps is
fixed, so the same machine and the same versions give the same weights.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import DistilBertConfig, DistilBertForSequenceClassification
from transformers.utils import logging as transformers_logging

from modeldeploy import builtin
from training.sentiment.grammar import Grammar
from training.sentiment.lexicon import Lexicon
from training.sentiment.vocabulary import MODEL_MAX_LENGTH, PAD, SPECIALS, UNK, build_tokenizer

LABELS = {0: "NEGATIVE", 1: "POSITIVE"}
THREADS = 2
LONGEST = 64  # tokens of a training sentence


@dataclass(frozen=True)
class Recipe:
    """What the training varies; the defaults are what ships."""

    seed: int = 0
    sentences: int = 150_000
    vocabulary_sentences: int = 60_000
    steps: int = 2400
    batch: int = 128
    learning_rate: float = 3e-3
    warmup: float = 0.05
    weight_decay: float = 0.05
    dropout: float = 0.1
    unknown_rate: float = 0.06  # tokens replaced by [UNK], so that strangers do not startle
    label_smoothing: float = 0.05
    average_from: float = 0.7  # weights are averaged over the steps after this share


def build_model(recipe: Recipe, vocabulary_size: int) -> DistilBertForSequenceClassification:
    """One transformer layer of width 64."""
    config = DistilBertConfig(
        vocab_size=vocabulary_size,
        dim=64,
        n_layers=1,
        n_heads=4,
        hidden_dim=128,
        max_position_embeddings=MODEL_MAX_LENGTH,
        dropout=recipe.dropout,
        attention_dropout=0.0,
        seq_classif_dropout=recipe.dropout,
        id2label=LABELS,
        label2id={label: i for i, label in LABELS.items()},
        pad_token_id=PAD,
        initializer_range=0.05,
    )
    return DistilBertForSequenceClassification(config)


def plant_valences(
    model: DistilBertForSequenceClassification, vocabulary: dict[str, int], lexicon: Lexicon
) -> None:
    """Start two dimensions of the embeddings from the valence of the word and its strength."""
    weight = model.distilbert.embeddings.word_embeddings.weight
    with torch.no_grad():
        for word, i in vocabulary.items():
            valence = lexicon.valence.get(word, 0.0)
            weight[i, 0] = 0.1 * valence
            weight[i, 1] = 0.1 * abs(valence)


@dataclass(frozen=True)
class Batch:
    """Token ids (sentences x tokens) padded to the longest, and labels (sentences)."""

    input_ids: torch.Tensor
    labels: torch.Tensor


def make_batches(encoded: list[list[int]], labels: list[int], recipe: Recipe) -> list[Batch]:
    """Batches of sentences of like length, in a seeded order."""
    rng = random.Random(recipe.seed)
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]) + rng.random() * 4)
    batches = []
    for start in range(0, len(order), recipe.batch):
        members = order[start : start + recipe.batch]
        ids = np.full((len(members), max(len(encoded[i]) for i in members)), PAD, dtype=np.int64)
        for row, i in enumerate(members):
            ids[row, : len(encoded[i])] = encoded[i]
        batches.append(Batch(torch.from_numpy(ids), torch.tensor([labels[i] for i in members])))
    rng.shuffle(batches)
    return batches


def blank_some(input_ids: torch.Tensor, rate: float) -> torch.Tensor:
    """Replace a share of the ordinary tokens by [UNK]."""
    hit = (torch.rand(input_ids.shape) < rate) & (input_ids >= len(SPECIALS))
    return input_ids.masked_fill(hit, UNK)


def make_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays matrices only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def schedule(step: int, recipe: Recipe) -> float:
    """Share of the full learning rate: a linear rise, and a linear fall to 3 %."""
    done = step / recipe.steps
    return min(1.0, done / recipe.warmup + 0.01) * (1.0 - 0.97 * done)


def fit(
    model: DistilBertForSequenceClassification, batches: list[Batch], recipe: Recipe
) -> torch.nn.Module:
    """Train for `recipe.steps` steps and return the model with averaged weights."""
    optimizer = make_optimizer(model, recipe)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: schedule(s, recipe))
    model.train()
    for step in range(recipe.steps):
        batch = batches[step % len(batches)]
        logits = model(
            input_ids=blank_some(batch.input_ids, recipe.unknown_rate),
            attention_mask=(batch.input_ids != PAD).long(),
        ).logits
        loss = cross_entropy(logits, batch.labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step >= recipe.average_from * recipe.steps:
            averaged.update_parameters(model)
        if step % 400 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    return averaged.module


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the Hub layout, weights in fp16."""
    transformers_logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes it for its owner only
    tokenizer.save_pretrained(folder)


def train(recipe: Recipe, folder: Path) -> None:
    """Generate, tokenize, train and save."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(recipe.seed)
    start = time.perf_counter()
    lexicon = Lexicon()
    texts, labels = zip(*Grammar(lexicon, recipe.seed).corpus(recipe.sentences), strict=True)
    tokenizer = build_tokenizer(texts[: recipe.vocabulary_sentences], lexicon)
    encoded = [ids[:LONGEST] for ids in tokenizer(list(texts))["input_ids"]]
    batches = make_batches(encoded, list(labels), recipe)
    print(f"{recipe.sentences} sentences prepared in {time.perf_counter() - start:.0f} s")
    model = build_model(recipe, len(tokenizer))
    plant_valences(model, tokenizer.get_vocab(), lexicon)
    start = time.perf_counter()
    save(fit(model, batches, recipe), tokenizer, folder)
    print(f"{recipe.steps} steps in {time.perf_counter() - start:.0f} s; saved to {folder}")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--out", type=Path, default=builtin.path("sentiment"))
    arguments = parser.parse_args()
    train(Recipe(seed=arguments.seed, steps=arguments.steps), arguments.out)


if __name__ == "__main__":
    main()
