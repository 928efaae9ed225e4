"""What the makers of tiny models share."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from PIL import Image


def save(folder: Path, *parts: Any) -> Path:
    """A model, its tokenizer, its processors: side by side."""
    for part in parts:
        if isinstance(part, torch.nn.Module):
            part.eval()
        part.save_pretrained(folder)
    return folder


def encoded(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()
