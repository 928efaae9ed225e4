"""One image in, masks of the objects that points or boxes show, or of all that is seen, out.

The way of transformers' mask-generation pipeline on the whole image (``crops_n_layers=0``). Masks
stay at the model's own size until those that it thinks little of are gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modeldeploy.schema.tasks.regions import Box, Mask, MaskGenerationParameters
from modeldeploy.schema.tasks.vision import Image
from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.tasks import images, prompts
from modeldeploy.worker.tasks.image_model import Features, ImageAdapter, Size, key_of, size_of
from modeldeploy.worker.tasks.prompts import Prompts
from modeldeploy.worker.tasks.scores import check_numbers

_OBJECTS_A_CALL = 64
_SCALED = 512 * 1024**2  # bytes of masks at the image's size, at a time
_SIZES = ("original_sizes", "reshaped_input_sizes")


@dataclass(frozen=True)
class _Work:
    pixels: Features
    sizes: tuple[Size, Size]  # of the image, and as the model is given it without padding
    prompts: Prompts
    least: float  # the quality of the masks that are kept


class MaskGeneration(ImageAdapter[Image, MaskGenerationParameters]):
    batch = BatchLimits(items=4, size=4)
    trials = ()  # what a call takes depends on what is asked of an image

    def pre(self, inputs: Image, parameters: MaskGenerationParameters) -> list[Item]:
        image = images.decode(inputs.image)
        features = self.features(image)
        size, resized = size_of(image), _size(features["reshaped_input_sizes"])
        asked = prompts.given(parameters, size, resized)
        pixels = {name: tensor for name, tensor in features.items() if name not in _SIZES}
        work = _Work(
            pixels,
            (size, resized),
            asked or prompts.grid(parameters.points_per_crop, resized),
            -np.inf if asked else parameters.pred_iou_thresh,
        )
        # A grid's masks are many: no company for it.
        return [Item(work, 1 if asked else 4, key=(key_of(pixels), work.prompts.key))]

    def forward(self, items: list[Item]) -> list[Any]:
        """For each item the two sizes, masks of shape (masks, height, width) at the model's size, and scores; for
        prompts the best of each, for a grid all that are good enough."""
        embeddings = self._embeddings(items)
        found: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in items]
        for asked in _calls([item.data.prompts for item in items]):
            tensors = {name: tensor.to(self.device) for name, tensor in asked.items()}
            outputs = self.model(**embeddings, **tensors)
            rows = zip(outputs.pred_masks, outputs.iou_scores, strict=True)
            for item, kept, (masks, scores) in zip(items, found, rows, strict=True):
                kept.append(_kept(masks, scores, item.data.least))
            if all(item.dropped for item in items):
                break
        return [
            (item.data.sizes, *map(torch.cat, zip(*kept, strict=True)))
            for item, kept in zip(items, found, strict=True)
        ]

    def _embeddings(self, items: list[Item]) -> dict[str, Any]:
        pixels = self.stacked(item.data.pixels for item in items)["pixel_values"]
        found = self.model.get_image_embeddings(pixels.to(self.device))
        if isinstance(found, tuple):  # SAM-HQ
            return {"image_embeddings": found[0], "intermediate_embeddings": found[1]}
        return {"image_embeddings": found}

    def post(
        self, raws: list[Any], inputs: Image, parameters: MaskGenerationParameters
    ) -> list[Mask]:
        sizes, masks, scores = raws[0]
        check_numbers(scores)
        at_once = max(1, _SCALED // (sizes[0][0] * sizes[0][1] * 4))
        starts = range(0, len(masks), at_once)
        pairs = [(masks[at : at + at_once], scores[at : at + at_once]) for at in starts]
        if parameters.input_points or parameters.input_boxes:
            return [one for pair in pairs for one in self._shown(*pair, sizes, parameters)]
        return self._seen(pairs, sizes, parameters)

    def _scaled(self, masks: torch.Tensor, sizes: tuple[Size, Size]) -> torch.Tensor:
        """Logits of shape (masks, 1, height, width) at the image's size."""
        size, resized = sizes
        found: torch.Tensor = self.processor.post_process_masks(
            [masks[:, None]], [size], [resized], binarize=False
        )[0]
        return found

    def _shown(
        self,
        masks: torch.Tensor,
        scores: torch.Tensor,
        sizes: tuple[Size, Size],
        parameters: MaskGenerationParameters,
    ) -> list[Mask]:
        seen = (self._scaled(masks, sizes)[:, 0] > parameters.mask_threshold).numpy()
        return [
            Mask(images.mask_png(mask), score, _box(mask))
            for mask, score in zip(seen, scores.tolist(), strict=True)
        ]

    def _seen(
        self,
        pairs: list[tuple[torch.Tensor, torch.Tensor]],
        sizes: tuple[Size, Size],
        parameters: MaskGenerationParameters,
    ) -> list[Mask]:
        """The stable ones, without those that overlap a better one."""
        runs: list[dict[str, Any]] = []
        some_scores, some_boxes = [], []
        height, width = sizes[0]
        for masks, scores in pairs:
            if len(masks) == 0:
                continue
            more, good, boxes = self.processor.filter_masks(
                self._scaled(masks, sizes),
                scores[:, None],
                sizes[0],
                [0, 0, width, height],
                parameters.pred_iou_thresh,
                parameters.stability_score_thresh,
                parameters.mask_threshold,
                parameters.stability_score_offset,
            )
            runs += more
            some_scores.append(good)
            some_boxes.append(boxes)
        if not runs:
            return []
        scores, boxes = torch.cat(some_scores), torch.cat(some_boxes)
        best = distinct(boxes.float(), scores, parameters.crops_nms_thresh)[: parameters.top_k]
        return [
            Mask(images.mask_png(_unrolled(runs[at])), scores[at].item(), Box(*boxes[at].tolist()))
            for at in best
        ]


def _size(tensor: torch.Tensor) -> Size:
    height, width = tensor.tolist()
    return height, width


def _calls(asked: list[Prompts]) -> list[dict[str, torch.Tensor]]:
    """The tensors of each call of the model, of shapes that begin with (images, objects)."""
    together = {
        name: torch.stack([getattr(one, field) for one in asked])
        for name, field in (
            ("input_points", "points"),
            ("input_labels", "labels"),
            ("input_boxes", "boxes"),
        )
        if getattr(asked[0], field) is not None
    }
    objects = next(iter(together.values())).shape[1]
    return [
        {name: tensor[:, at : at + _OBJECTS_A_CALL] for name, tensor in together.items()}
        for at in range(0, objects, _OBJECTS_A_CALL)
    ]


def _kept(
    masks: torch.Tensor, scores: torch.Tensor, least: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of masks (objects, choices, height, width) and scores (objects, choices): the best of each
    object, or all above ``least``; on the CPU."""
    if least == -np.inf:
        best = scores.argmax(dim=1, keepdim=True)
        chosen = torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, True)
    else:
        chosen = ~(scores <= least)  # what is no number is told of later
    return masks[chosen].float().cpu(), scores[chosen].float().cpu()


def distinct(boxes: torch.Tensor, scores: torch.Tensor, most: float) -> list[int]:
    """Non-maximum suppression as ``torchvision.ops.nms`` does it: the places of the boxes (xmin,
    ymin, xmax, ymax) that share no more than ``most`` of their union with a better one that is
    itself kept, best first."""
    order = scores.argsort(descending=True, stable=True)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = torch.maximum(boxes[best, :2], boxes[order, :2])
        high = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        order = order[~(shared / (areas[best] + areas[order] - shared) > most)]
    return kept


def _unrolled(runs: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """The mask of run lengths, column by column, that begin with what is not of it."""
    height, width = runs["size"]
    values = np.arange(len(runs["counts"])) % 2 == 1
    return np.repeat(values, runs["counts"]).reshape(width, height).T


def _box(mask: npt.NDArray[np.bool_]) -> Box:
    """All zero where the mask is empty."""
    ys, xs = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if len(ys) == 0:
        return Box(0, 0, 0, 0)
    return Box(int(xs[0]), int(ys[0]), int(xs[-1]), int(ys[-1]))
