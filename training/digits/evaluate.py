"""Accuracy of the saved digit model on the held-out pictures, through its own preprocessing.

`python -m training.digits.evaluate` prints one line for each size of picture and polarity.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from modeldeploy import builtin
from training.digits.data import load_split, picture

SIDES = (8, 28, 64, 200)
Accuracies = dict[tuple[int, bool], float]


def accuracies(folder: Path) -> Accuracies:
    """Accuracy, 0 to 1, keyed by the side of the picture in pixels and whether ink is black."""
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    _, held_out = load_split()
    found: Accuracies = {}
    for side in SIDES:
        for black_on_white in (False, True):
            pictures = [picture(image, side, black_on_white) for image in held_out.images]
            with torch.inference_mode():
                logits = model(**processor(images=pictures, return_tensors="pt")).logits
            right = logits.argmax(-1).numpy() == held_out.labels
            found[side, black_on_white] = float(right.mean())
    return found


def main() -> None:
    """Print the accuracies in per cent."""
    parser = argparse.ArgumentParser(description="Accuracy of the digit model.")
    parser.add_argument("--model", type=Path, default=builtin.path("digits"))
    for (side, black_on_white), accuracy in accuracies(parser.parse_args().model).items():
        polarity = "black on white" if black_on_white else "white on black"
        print(f"{side:>4} px, {polarity}: {100 * accuracy:.1f}")


if __name__ == "__main__":
    main()
