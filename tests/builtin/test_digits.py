"""The shipped digit model keeps what its card says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from modeldeploy import builtin
from training.digits import card
from training.digits.evaluate import Accuracies, accuracies

FOLDER = builtin.path("digits")
EXAMPLES = sorted((FOLDER / "examples").glob("*.png"))


@pytest.fixture(scope="module")
def found() -> Accuracies:
    return accuracies(FOLDER)


def read_digit(image: Image.Image) -> str:
    model = AutoModelForImageClassification.from_pretrained(FOLDER, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(FOLDER)
    with torch.inference_mode():
        best = model(**processor(images=image, return_tensors="pt")).logits.argmax(-1).item()
    label: str = model.config.id2label[int(best)]
    return label


def test_nineteen_of_twenty_digits_are_read_right_at_any_size_and_polarity(
    found: Accuracies,
) -> None:
    assert min(found.values()) >= 0.95


def test_the_card_tells_the_measured_figures(found: Accuracies) -> None:
    written = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert written == card.render(found, FOLDER / "model.safetensors")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
def test_the_examples_are_read_right_in_any_mode(path: Path, mode: str) -> None:
    assert read_digit(Image.open(path).convert(mode)) == path.stem


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 500_000
