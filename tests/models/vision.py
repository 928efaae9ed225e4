"""Tiny seeded models that take images: real architectures, meaningless weights."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from PIL import Image

from tests.models import common

WIDTH = 32
_TRANSFORMER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": WIDTH,
}


def picture(seed: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Coloured blocks of the size (width, height)."""
    rng = np.random.default_rng(seed)
    blocks = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    return blocks.resize(size, Image.Resampling.NEAREST)


def in_base64(image: Image.Image) -> str:
    return base64.b64encode(common.encoded(image)).decode()


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def save(folder: Path, model: Any, *processors: Any) -> Path:
    """With weights a good deal larger than fresh ones, so that answers differ."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return common.save(folder, model, *processors)


def yolos(folder: Path) -> Path:
    """A detector of three kinds of objects."""
    torch.manual_seed(0)
    config = tf.YolosConfig(
        **_TRANSFORMER, image_size=[32, 40], patch_size=8, num_detection_tokens=6, num_labels=3
    )
    processor = tf.YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64})
    return save(folder, tf.YolosForObjectDetection(config), processor)


def detr(folder: Path, *, masks: bool = False) -> Path:
    """A detector of three kinds of objects; with ``masks``, of their masks too."""
    torch.manual_seed(1)
    config = tf.DetrConfig(
        backbone_config=tf.ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 16, 32],
            depths=[1, 1, 1, 1],
            out_features=["stage1", "stage2", "stage3", "stage4"] if masks else ["stage4"],
        ),
        d_model=64,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=WIDTH,
        decoder_ffn_dim=WIDTH,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        num_queries=5,
        num_labels=3,
    )
    processor = tf.DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128})
    kind = tf.DetrForSegmentation if masks else tf.DetrForObjectDetection
    return save(folder, kind(config), processor)


def segformer(folder: Path) -> Path:
    """Semantic segmentation of four kinds."""
    torch.manual_seed(2)
    config = tf.SegformerConfig(
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        num_labels=4,
    )
    processor = tf.SegformerImageProcessorPil(size={"height": 64, "width": 64})
    return save(folder, tf.SegformerForSemanticSegmentation(config), processor)


def mask2former(folder: Path) -> Path:
    """Panoptic, instance and semantic segmentation of three kinds."""
    torch.manual_seed(3)
    config = tf.Mask2FormerConfig(
        backbone_config=tf.SwinConfig(
            image_size=64,
            patch_size=4,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=2,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=16,
        num_queries=5,
        num_labels=3,
    )
    processor = tf.Mask2FormerImageProcessorPil(size={"height": 64, "width": 64})
    return save(folder, tf.Mask2FormerForUniversalSegmentation(config), processor)


def depth_anything(folder: Path) -> Path:
    """Depths by DINOv2 and a head; the processor keeps the aspect."""
    torch.manual_seed(4)
    config = tf.DepthAnythingConfig(
        backbone_config=tf.Dinov2Config(
            hidden_size=WIDTH,
            num_hidden_layers=4,
            num_attention_heads=2,
            mlp_ratio=1,
            image_size=56,
            patch_size=14,
            out_indices=[1, 2, 3, 4],
            reshape_hidden_states=False,
        ),
        reassemble_hidden_size=WIDTH,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        head_hidden_size=8,
        patch_size=14,
    )
    processor = tf.DPTImageProcessorPil(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14
    )
    return save(folder, tf.DepthAnythingForDepthEstimation(config), processor)


def glpn(folder: Path) -> Path:
    """Depths by a pyramid."""
    torch.manual_seed(5)
    config = tf.GLPNConfig(
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
    )
    return save(folder, tf.GLPNForDepthEstimation(config), tf.GLPNImageProcessorPil())


def vit(folder: Path, *, pooler: bool = True) -> Path:
    """A ViT of 16 patches without a head."""
    torch.manual_seed(6)
    config = tf.ViTConfig(**_TRANSFORMER, image_size=32, patch_size=8)
    processor = tf.ViTImageProcessorPil(size={"height": 32, "width": 32})
    return save(folder, tf.ViTModel(config, add_pooling_layer=pooler), processor)


def resnet(folder: Path) -> Path:
    """A ConvNet without a head, whose pooler has no weights."""
    torch.manual_seed(7)
    config = tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    processor = tf.ConvNextImageProcessorPil(size={"shortest_edge": 32})
    return save(folder, tf.ResNetModel(config), processor)


def sam(folder: Path) -> Path:
    """Masks of 32 x 32 logits for images of at most 64."""
    torch.manual_seed(8)
    config = tf.SamConfig(
        vision_config=tf.SamVisionConfig(
            hidden_size=WIDTH,
            output_channels=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=64,
            patch_size=8,
            mlp_dim=WIDTH,
            global_attn_indexes=[0],
            window_size=0,
            num_pos_feats=16,
        ),
        prompt_encoder_config=tf.SamPromptEncoderConfig(
            hidden_size=WIDTH, image_size=64, patch_size=8, mask_input_channels=4
        ),
        mask_decoder_config=tf.SamMaskDecoderConfig(
            hidden_size=WIDTH,
            mlp_dim=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            iou_head_hidden_dim=WIDTH,
        ),
    )
    square = {"height": 64, "width": 64}
    processor = tf.SamImageProcessorPil(size={"longest_edge": 64}, pad_size=square)
    return save(folder, tf.SamModel(config), processor)


def superglue(folder: Path) -> Path:
    """Matches of the points of a random SuperPoint."""
    torch.manual_seed(9)
    config = tf.SuperGlueConfig(
        keypoint_detector_config=tf.SuperPointConfig(
            encoder_hidden_sizes=[8, 8, 8, 8],
            decoder_hidden_size=8,
            descriptor_decoder_dim=16,
            keypoint_threshold=0.0,
            max_keypoints=12,
        ),
        hidden_size=16,
        keypoint_encoder_sizes=[8, 16],
        gnn_layers_types=["self", "cross"],
        num_attention_heads=2,
        sinkhorn_iterations=5,
    )
    processor = tf.SuperGlueImageProcessorPil(size={"height": 48, "width": 64})
    return save(folder, tf.SuperGlueForKeypointMatching(config), processor)


_VIDEO: dict[str, Any] = {**_TRANSFORMER, "image_size": 32, "patch_size": 16, "num_labels": 3}


def videomae(folder: Path) -> Path:
    """Three kinds of videos of four frames."""
    torch.manual_seed(10)
    config = tf.VideoMAEConfig(**_VIDEO, num_frames=4, tubelet_size=2)
    square = {"height": 32, "width": 32}
    processor = tf.VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size=square)
    return save(folder, tf.VideoMAEForVideoClassification(config), processor)


def vivit(folder: Path) -> Path:
    """Three kinds of videos of four frames."""
    torch.manual_seed(11)
    config = tf.VivitConfig(
        **_TRANSFORMER, image_size=32, num_labels=3, num_frames=4, tubelet_size=[2, 16, 16]
    )
    square = {"height": 32, "width": 32}
    processor = tf.VivitImageProcessor(size={"shortest_edge": 32}, crop_size=square)
    return save(folder, tf.VivitForVideoClassification(config), processor)


def timesformer(folder: Path) -> Path:
    """Three kinds of videos of four frames, or as many as are given."""
    torch.manual_seed(12)
    config = tf.TimesformerConfig(**_VIDEO, num_frames=4)
    square = {"height": 32, "width": 32}
    processor = tf.VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size=square)
    return save(folder, tf.TimesformerForVideoClassification(config), processor)
