"""scikit-learn's handwritten digits: the split, the pictures made of them, the augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn.functional import adaptive_avg_pool2d, affine_grid, grid_sample, interpolate

HELD_OUT_SHARE = 0.2
SPLIT_SEED = 0
CANVAS = 32  # pixels of a side while a picture is turned and moved
BRIGHTEST = 16.0  # the data set's white


@dataclass(frozen=True)
class Digits:
    """Pictures (n x 8 x 8, float32, 0 black to 1 white, white strokes) and their digits (n)."""

    images: np.ndarray
    labels: np.ndarray


def load_split() -> tuple[Digits, Digits]:
    """The training part and the held-out part, always the same, each digit in proportion."""
    bunch = load_digits()
    images = (bunch.images / BRIGHTEST).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images,
        bunch.target,
        test_size=HELD_OUT_SHARE,
        random_state=SPLIT_SEED,
        stratify=bunch.target,
    )
    return Digits(train_x, train_y), Digits(test_x, test_y)


def picture(image: np.ndarray, side: int, black_on_white: bool) -> Image.Image:
    """An 8 x 8 digit as a greyscale picture of `side` x `side` pixels."""
    ink = 1.0 - image if black_on_white else image
    small = Image.fromarray((ink * 255).round().astype(np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def upscale(images: np.ndarray) -> torch.Tensor:
    """Pictures as a tensor (n x 1 x CANVAS x CANVAS)."""
    tensor = torch.from_numpy(images).unsqueeze(1)
    return interpolate(tensor, size=(CANVAS, CANVAS), mode="bicubic").clamp(0, 1)


def uniform(count: int, low: float, high: float) -> torch.Tensor:
    """Random numbers of shape (count, 1, 1, 1)."""
    return torch.empty(count, 1, 1, 1).uniform_(low, high)


def turn_and_move(images: torch.Tensor) -> torch.Tensor:
    """Turn by up to 14 degrees, resize to 0.65-1.15 and shift by up to a tenth of the side."""
    count = len(images)
    angle = uniform(count, -math.radians(14), math.radians(14)).flatten()
    zoom = 1 / uniform(count, 0.65, 1.15).flatten()
    shift = torch.empty(count, 2).uniform_(-0.2, 0.2)  # grid units: the side is 2
    theta = torch.stack(
        [
            torch.stack([angle.cos() * zoom, -angle.sin() * zoom, shift[:, 0]], dim=1),
            torch.stack([angle.sin() * zoom, angle.cos() * zoom, shift[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, align_corners=False)


def augment(images: torch.Tensor, side: int) -> torch.Tensor:
    """Model inputs (n x 3 x side x side, -1 to 1) from canvases, every second one inverted."""
    moved = adaptive_avg_pool2d(turn_and_move(images), side)
    toned = moved.pow(uniform(len(moved), 0.5, 1.8)) * uniform(len(moved), 0.7, 1.0)
    noisy = (toned + 0.04 * torch.randn_like(toned)).clamp(0, 1)
    inverted = torch.rand(len(noisy), 1, 1, 1) < 0.5
    both = torch.where(inverted, 1 - noisy, noisy)
    return (both * 2 - 1).expand(-1, 3, -1, -1)
