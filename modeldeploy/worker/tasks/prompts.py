"""Points and boxes that say which objects of an image are meant, as SAM takes them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import torch

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.regions import MaskGenerationParameters
from modeldeploy.worker.tasks.image_model import Size

_PADDING = -10  # the label of a point that is none


@dataclass(frozen=True)
class Prompts:
    """``points`` of shape (objects, points, 2) with ``labels`` (objects, points), ``boxes`` of
    shape (objects, 4), all in pixels of what the model is given."""

    points: torch.Tensor | None
    labels: torch.Tensor | None
    boxes: torch.Tensor | None

    @property
    def key(self) -> Hashable:
        """Equal for prompts that may be stacked."""
        return tuple(
            None if tensor is None else tuple(tensor.shape) for tensor in (self.points, self.boxes)
        )


def grid(side: int, resized: Size) -> Prompts:
    """``side`` times ``side`` points, each an object, in the middles of equal fields."""
    height, width = resized
    middles = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(middles * height, middles * width, indexing="ij")
    points = torch.stack([x, y], dim=-1).reshape(-1, 1, 2)
    return Prompts(points, torch.ones(len(points), 1, dtype=torch.int64), None)


def given(parameters: MaskGenerationParameters, size: Size, resized: Size) -> Prompts | None:
    """What was asked for, None if nothing was; ``size`` is the image's own.

    Raises:
        InvalidRequest: points, labels and boxes do not go together, or lie outside.
    """
    points, boxes = parameters.input_points, parameters.input_boxes
    labels = parameters.input_labels
    if labels is not None and [*map(len, labels)] != [*map(len, points or [])]:
        raise InvalidRequest("input_labels: there must be one for each of input_points")
    if points and boxes and len(points) != len(boxes):
        raise InvalidRequest(
            f"input_boxes: there are {len(boxes)} for the input_points of {len(points)} objects",
            hint="send a box and points for each object, or only one kind",
        )
    if points is None:
        return _of_boxes(boxes, size, resized)
    _check_inside("input_points", [xy for one in points for xy in one], size)
    most = max(map(len, points))
    labels = labels or [[1] * len(one) for one in points]
    filled = [[*one, *[[0.0, 0.0]] * (most - len(one))] for one in points]
    marks = [[*one, *[_PADDING] * (most - len(one))] for one in labels]
    of_boxes = _of_boxes(boxes, size, resized)
    return Prompts(
        torch.tensor(filled) * _scale(size, resized),
        torch.tensor(marks),
        of_boxes.boxes if of_boxes else None,
    )


def _of_boxes(boxes: list[list[float]] | None, size: Size, resized: Size) -> Prompts | None:
    if boxes is None:
        return None
    corners = [corner for box in boxes for corner in (box[:2], box[2:])]
    _check_inside("input_boxes", corners, size)
    if any(box[0] > box[2] or box[1] > box[3] for box in boxes):
        raise InvalidRequest("input_boxes: one ends before it begins (xmin, ymin, xmax, ymax)")
    return Prompts(None, None, torch.tensor(boxes) * _scale(size, resized).repeat(2))


def _scale(size: Size, resized: Size) -> torch.Tensor:
    """What x and y are multiplied with."""
    return torch.tensor([resized[1] / size[1], resized[0] / size[0]])


def _check_inside(field: str, points: list[list[float]], size: Size) -> None:
    height, width = size
    for x, y in points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise InvalidRequest(
                f"{field}: {x:g}, {y:g} is outside of the image of {width} x {height} pixels"
            )
