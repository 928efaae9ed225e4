"""huggingface_hub's own client, and plain HTTP in its dialect where it has no method, against tasks
on images."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from modeldeploy.schema.tasks import TASKS
from tests.clients.served import Served, served
from tests.models import vision, vision_text
from tests.models.common import encoded

PICTURE = vision.picture(0, (64, 48))
RAW = encoded(PICTURE)
TEXT = vision.in_base64(PICTURE)


def _post(
    one: Served, body: dict[str, Any] | bytes, kind: str = "application/json", path: str = "/"
) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(one.url + path, raw, {"content-type": kind})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def _refusal(one: Served, body: dict[str, Any] | bytes, kind: str = "application/json") -> str:
    with pytest.raises(urllib.error.HTTPError) as refused:
        _post(one, body, kind)
    with refused.value as answer:
        assert answer.code == 422
        said: str = json.load(answer)["error"]
        return said


def test_object_detection(tmp_path: Path) -> None:
    with served(vision.yolos(tmp_path), "object-detection") as one:
        client = InferenceClient(model=one.url)
        found = client.object_detection(RAW, threshold=0.0)
        assert len(found) == 6
        assert found[0].label.startswith("LABEL_")
        assert isinstance(found[0].box.xmin, int)
        assert len(client.object_detection(RAW)) <= 6
        with pytest.raises(HfHubHTTPError, match="threshold"):
            client.object_detection(RAW, threshold=2)


def test_image_segmentation(tmp_path: Path) -> None:
    with served(vision.mask2former(tmp_path), "image-segmentation") as one:
        client = InferenceClient(model=one.url)
        found: list[Any] = list(client.image_segmentation(RAW, threshold=0.2))
        assert found
        assert {segment.mask.size for segment in found} == {PICTURE.size}
        assert all(isinstance(segment.mask, Image.Image) for segment in found)
        (semantic, *_) = client.image_segmentation(RAW, subtask="semantic")
        assert semantic.score is None
        assert isinstance(client.image_segmentation(RAW), list)


@pytest.mark.parametrize("make", [vision_text.clip, vision_text.siglip])
def test_zero_shot_image_classification(make: Any, tmp_path: Path) -> None:
    with served(make(tmp_path), "zero-shot-image-classification") as one:
        client = InferenceClient(model=one.url)
        found = client.zero_shot_image_classification(RAW, ["cat", "dog"])
        assert {label.label for label in found} == {"cat", "dog"}
        with pytest.raises(HfHubHTTPError, match="hypothesis_template"):
            client.zero_shot_image_classification(RAW, ["a", "b"], hypothesis_template="no place")


def test_zero_shot_object_detection(tmp_path: Path) -> None:
    with served(vision_text.owlvit(tmp_path), "zero-shot-object-detection") as one:
        how = {"candidate_labels": ["cat", "dog"], "threshold": 0.0, "top_k": 3}
        found = _post(one, {"inputs": TEXT, "parameters": how})
        assert [set(each) for each in found] == [{"label", "score", "box"}] * 3
        assert "candidate_labels" in _refusal(one, {"inputs": TEXT})


def test_depth_estimation(tmp_path: Path) -> None:
    with served(vision.glpn(tmp_path), "depth-estimation") as one:
        by_bytes = _post(one, RAW, "image/png")
        assert vision.decoded(by_bytes["depth"]).size == PICTURE.size
        how = {"return_predicted_depth": True}
        full = _post(one, {"inputs": TEXT, "parameters": how})
        assert (len(full["predicted_depth"]), len(full["predicted_depth"][0])) == (48, 64)


def test_image_feature_extraction(tmp_path: Path) -> None:
    with served(vision.vit(tmp_path), "image-feature-extraction") as one:
        (patches,) = _post(one, RAW, "image/png")
        assert (len(patches), len(patches[0])) == (17, vision.WIDTH)
        (pooled,) = _post(one, {"inputs": TEXT, "parameters": {"pool": True}})
        assert len(pooled) == vision.WIDTH
        several = _post(one, {"images": [TEXT, TEXT], "pool": True}, path="/predict")["result"]
        assert several == [pytest.approx(pooled, abs=1e-5)] * 2


def test_mask_generation(tmp_path: Path) -> None:
    with served(vision.sam(tmp_path), "mask-generation") as one:
        how = {"points_per_crop": 3, "pred_iou_thresh": 0, "stability_score_thresh": 0}
        found = _post(one, {"inputs": TEXT, "parameters": how})
        assert vision.decoded(found[0]["mask"]).size == PICTURE.size
        (shown,) = _post(one, {"inputs": TEXT, "parameters": {"input_points": [[[5, 5]]]}})
        assert set(shown["box"]) == {"xmin", "ymin", "xmax", "ymax"}


def test_keypoint_matching(tmp_path: Path) -> None:
    with served(vision.superglue(tmp_path), "keypoint-matching") as one:
        found = _post(one, {"inputs": {"image_0": TEXT, "image_1": TEXT}})
        assert set(found[0]["keypoint_image_0"]) == {"x", "y"}


def test_video_classification(tmp_path: Path) -> None:
    clip = [vision.picture(seed) for seed in range(4)]
    gif = encoded(clip[0], "GIF", save_all=True, append_images=clip[1:])
    frames = list(map(vision.in_base64, clip))
    with served(vision.videomae(tmp_path), "video-classification") as one:
        assert len(_post(one, gif, "image/gif")) == 3
        native = _post(one, {"video": frames, "top_k": 1}, path="/predict")["result"]
        (bare,) = _post(one, {"inputs": [frames], "parameters": {"top_k": 1}})
        assert bare == native
        assert "decoded" in _refusal(one, b"\0\0\0\x18ftypisom", "video/mp4")


_MODELS: dict[str, Any] = {
    "object-detection": vision.detr,
    "image-segmentation": vision.segformer,
    "zero-shot-image-classification": vision_text.clip,
    "zero-shot-object-detection": vision_text.grounding_dino,
    "depth-estimation": vision.depth_anything,
    "image-feature-extraction": vision.resnet,
    "mask-generation": vision.sam,
    "keypoint-matching": vision.superglue,
    "video-classification": vision.vivit,
}


@pytest.mark.parametrize("task", _MODELS)
def test_the_example_and_the_document_work(task: str, tmp_path: Path) -> None:
    with served(_MODELS[task](tmp_path), task) as one:
        assert _post(one, TASKS[task].example, path="/predict")["status"] == "success"
        with urllib.request.urlopen(one.url + "/openapi.json") as answer:
            assert json.load(answer)["paths"]["/predict"]
