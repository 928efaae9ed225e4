"""Trains `modeldeploy/builtin/digits` from scratch: `python -m training.digits.train`.

Seeded, with a fixed number of steps; about half a minute on two cores.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil
from transformers.utils import logging as transformers_logging

from modeldeploy import builtin
from training.digits.data import Digits, augment, load_split, picture, upscale

THREADS = 2
SIDE = 16
EXAMPLES = {3: False, 5: True, 8: False}  # digit: black on white?
EXAMPLE_SIDE = 64


@dataclass(frozen=True)
class Recipe:
    """What the training varies; the defaults are what ships."""

    seed: int = 0
    steps: int = 1300
    batch: int = 128
    learning_rate: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    label_smoothing: float = 0.05


def build_model() -> ViTForImageClassification:
    """Two layers of width 64 over sixteen patches."""
    digits = [str(i) for i in range(10)]
    config = ViTConfig(
        image_size=SIDE,
        patch_size=4,
        num_channels=3,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        id2label=dict(enumerate(digits)),
        label2id={digit: i for i, digit in enumerate(digits)},
        initializer_range=0.06,
    )
    return ViTForImageClassification(config)


def build_processor() -> ViTImageProcessorPil:
    """Any picture to RGB, 16 x 16, -1 to 1."""
    return ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        do_convert_rgb=True,
    )


def fit(model: ViTForImageClassification, digits: Digits, recipe: Recipe) -> None:
    """Train in place."""
    canvases, labels = upscale(digits.images), torch.from_numpy(digits.labels)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=recipe.warmup
    )
    model.train()
    for _ in range(recipe.steps):
        chosen = torch.randint(len(labels), (recipe.batch,))
        logits = model(pixel_values=augment(canvases[chosen], SIDE)).logits
        loss = cross_entropy(logits, labels[chosen], label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()
        scheduler.step()


def save_examples(held_out: Digits, folder: Path) -> None:
    """Write a few held-out digits as pictures, for docs and tests."""
    folder.mkdir(parents=True, exist_ok=True)
    for digit, black_on_white in EXAMPLES.items():
        first = held_out.images[held_out.labels == digit][0]
        picture(first, EXAMPLE_SIDE, black_on_white).save(folder / f"{digit}.png")


def train(recipe: Recipe, folder: Path) -> None:
    """Train and save model, processor and examples."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(recipe.seed)
    transformers_logging.disable_progress_bar()
    start = time.perf_counter()
    training, held_out = load_split()
    model = build_model()
    fit(model, training, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    build_processor().save_pretrained(folder)
    save_examples(held_out, folder / "examples")
    print(f"{recipe.steps} steps in {time.perf_counter() - start:.0f} s; saved to {folder}")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--out", type=Path, default=builtin.path("digits"))
    arguments = parser.parse_args()
    train(Recipe(seed=arguments.seed, steps=arguments.steps), arguments.out)


if __name__ == "__main__":
    main()
