"""Tiny models of images and texts made on the spot, seeded, with their processors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    DonutImageProcessorPil,
    DonutSwinConfig,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    GPT2Config,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LayoutLMConfig,
    LayoutLMForQuestionAnswering,
    LayoutLMv3Config,
    LayoutLMv3ForQuestionAnswering,
    LayoutLMv3ImageProcessorPil,
    LayoutLMv3Tokenizer,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaProcessor,
    MBartConfig,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
    ViltConfig,
    ViltForQuestionAnswering,
    ViltImageProcessorPil,
    ViltProcessor,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessorPil,
)

from tests.models.common import save
from tests.models.tiny import byte_level, word_piece

SIDE = 16
DONUT_TAGS = ("<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>")
_SQUARE = {"height": SIDE, "width": SIDE}
_LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
_VISION: dict[str, Any] = {**_LAYERS, "image_size": SIDE, "patch_size": 8}


def picture(seed: int = 0, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """RGB noise, (width, height)."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


def encoder_decoder(folder: Path) -> Path:
    """A ViT that is read by a GPT-2."""
    torch.manual_seed(0)
    tokenizer = byte_level()
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTConfig(**_VISION),
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=48,
            n_embd=32,
            n_layer=2,
            n_head=2,
            bos_token_id=0,
            eos_token_id=0,
            initializer_range=0.3,
            add_cross_attention=True,
        ),
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=0,
    )
    return save(
        folder, VisionEncoderDecoderModel(config), ViTImageProcessorPil(size=_SQUARE), tokenizer
    )


def _blip_config(tokenizer: Any) -> BlipConfig:
    text = {
        **_LAYERS,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 48,
        "projection_dim": 16,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
        "encoder_hidden_size": 32,
        "initializer_range": 0.3,
    }
    vision = {**_VISION, "initializer_range": 0.3}
    return BlipConfig(
        text_config=text, vision_config=vision, projection_dim=16, image_text_hidden_size=16
    )


def blip(folder: Path) -> Path:
    """A captioner."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    model = BlipForConditionalGeneration(_blip_config(tokenizer))
    return save(folder, model, BlipProcessor(BlipImageProcessorPil(size=_SQUARE), tokenizer))


def blip_questions(folder: Path) -> Path:
    """One that writes answers."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    model = BlipForQuestionAnswering(_blip_config(tokenizer))
    return save(folder, model, BlipProcessor(BlipImageProcessorPil(size=_SQUARE), tokenizer))


def git(folder: Path) -> Path:
    """A captioner that is one decoder."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    config = GitConfig(
        vision_config=_VISION,
        vocab_size=len(tokenizer),
        **_LAYERS,
        max_position_embeddings=48,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        initializer_range=0.3,
    )
    size = {"shortest_edge": SIDE}
    image = CLIPImageProcessorPil(size=size, crop_size=_SQUARE)
    return save(folder, GitForCausalLM(config), GitProcessor(image, tokenizer))


def vilt(folder: Path) -> Path:
    """Five answers to choose among."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    answers = ["yes", "no", "two", "red", "London"]
    config = ViltConfig(
        **_VISION,
        vocab_size=len(tokenizer),
        max_position_embeddings=40,
        initializer_range=0.3,
        id2label=dict(enumerate(answers)),
        label2id={label: at for at, label in enumerate(answers)},
    )
    image = ViltImageProcessorPil(size={"shortest_edge": SIDE}, size_divisor=8)
    return save(folder, ViltForQuestionAnswering(config), ViltProcessor(image, tokenizer))


def layoutlm(folder: Path) -> Path:
    """A span finder that knows where words stand, 48 positions."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    tokenizer.model_max_length = 48
    config = LayoutLMConfig(
        **_LAYERS, vocab_size=len(tokenizer), max_position_embeddings=48, initializer_range=0.3
    )
    return save(folder, LayoutLMForQuestionAnswering(config), tokenizer)


def layoutlmv3(folder: Path) -> Path:
    """One that sees the page too."""
    torch.manual_seed(0)
    made = byte_level(special=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    state = json.loads(made.backend_tokenizer.to_str())["model"]
    merges = [tuple(one) for one in state["merges"]]
    tokenizer = LayoutLMv3Tokenizer(vocab=state["vocab"], merges=merges, model_max_length=48)
    config = LayoutLMv3Config(
        **_LAYERS,
        vocab_size=len(tokenizer),
        max_position_embeddings=52,
        initializer_range=0.3,
        input_size=SIDE,
        patch_size=8,
        coordinate_size=6,
        shape_size=4,
        pad_token_id=1,
    )
    image = LayoutLMv3ImageProcessorPil(size=_SQUARE)
    return save(folder, LayoutLMv3ForQuestionAnswering(config), image, tokenizer)


def donut(folder: Path) -> Path:
    """A Swin that is read by an mBART, which knows Donut's tags."""
    torch.manual_seed(0)
    tokenizer = byte_level(special=["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.add_tokens([*DONUT_TAGS])
    tokenizer.add_special_tokens({"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>"})
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        DonutSwinConfig(
            image_size=32,
            patch_size=4,
            embed_dim=16,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=2,
            initializer_range=0.3,
        ),
        MBartConfig(
            vocab_size=len(tokenizer),
            d_model=32,
            decoder_layers=2,
            decoder_attention_heads=2,
            decoder_ffn_dim=48,
            max_position_embeddings=64,
            is_decoder=True,
            init_std=0.6,
            is_encoder_decoder=False,
            add_cross_attention=True,
        ),
        decoder_start_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    image = DonutImageProcessorPil(size={"height": 32, "width": 32}, do_align_long_axis=False)
    return save(folder, VisionEncoderDecoderModel(config), image, tokenizer)


_TEMPLATE = (
    "{% for turn in messages %}{{ turn.role }}: {% for part in turn.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


def _decoder(tokenizer: Any) -> LlamaConfig:
    return LlamaConfig(
        **_LAYERS,
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )


def _chatty(*more: str) -> Any:
    tokenizer = byte_level()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", *more]})
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.model_max_length = 256
    return tokenizer


def llava(folder: Path, template: str | None = _TEMPLATE) -> Path:
    """A CLIP's patches among a Llama's tokens, 256 positions."""
    torch.manual_seed(0)
    tokenizer = _chatty()
    vision = CLIPVisionConfig(**_VISION, projection_dim=32, initializer_range=0.3)
    config = LlavaConfig(
        vision_config=vision,
        text_config=_decoder(tokenizer),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    image = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=_SQUARE)
    processor = LlavaProcessor(
        image,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    return save(folder, LlavaForConditionalGeneration(config), processor)


def idefics3(folder: Path) -> Path:
    """Images cut into tiles, 256 positions."""
    torch.manual_seed(0)
    tokenizer = _chatty("<fake_token_around_image>", "<end_of_utterance>")
    vision = {**_VISION, "initializer_range": 0.3, "model_type": "idefics3_vision"}
    config = Idefics3Config(
        vision_config=vision,
        text_config=_decoder(tokenizer),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    image = Idefics3ImageProcessorPil(
        size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
    )
    processor = Idefics3Processor(image, tokenizer, image_seq_len=1, chat_template=_TEMPLATE)
    return save(folder, Idefics3ForConditionalGeneration(config), processor)


def smolvlm(folder: Path) -> Path:
    """An Idefics3 of another name, whose processor knows videos too."""
    torch.manual_seed(0)
    tokenizer = _chatty("<fake_token_around_image>", "<end_of_utterance>", "<global-img>")
    config = SmolVLMConfig(
        vision_config={**_VISION, "initializer_range": 0.3, "model_type": "smolvlm_vision"},
        text_config=_decoder(tokenizer),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    image = SmolVLMImageProcessorPil(
        size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
    )
    kind = {"processor_class": "SmolVLMProcessor", "image_seq_len": 1}
    return _with_videos(folder, SmolVLMForConditionalGeneration(config), tokenizer, image, kind)


def llava_onevision(folder: Path) -> Path:
    """A SigLIP's patches among a Llama's tokens."""
    torch.manual_seed(0)
    tokenizer = _chatty("<video>")
    config = LlavaOnevisionConfig(
        vision_config={**_VISION, "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config=_decoder(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[SIDE, SIDE], [SIDE, 2 * SIDE]],
    )
    image = LlavaOnevisionImageProcessorPil(
        size=_SQUARE, image_grid_pinpoints=[[SIDE, SIDE], [SIDE, 2 * SIDE]]
    )
    kind = {
        "processor_class": "LlavaOnevisionProcessor",
        "num_image_tokens": 4,
        "vision_feature_select_strategy": "full",
    }
    return _with_videos(
        folder, LlavaOnevisionForConditionalGeneration(config), tokenizer, image, kind
    )


def qwen2_vl(folder: Path) -> Path:
    """Images of any size as so many patches, places in three directions."""
    torch.manual_seed(0)
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = _chatty(*names)
    start, end, image, video = map(tokenizer.convert_tokens_to_ids, names)
    text = _decoder(tokenizer).to_dict()
    config = Qwen2VLConfig(
        text_config={**text, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}},
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    processor = Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, temporal_patch_size=2, min_pixels=64, max_pixels=1024
    )
    template = _TEMPLATE.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    model, kind = Qwen2VLForConditionalGeneration(config), {"processor_class": "Qwen2VLProcessor"}
    return _with_videos(folder, model, tokenizer, processor, kind, template)


def _with_videos(
    folder: Path,
    model: Any,
    tokenizer: Any,
    image: Any,
    kind: dict[str, Any],
    template: str = _TEMPLATE,
) -> Path:
    """Saved part by part: transformers makes a processor of videos only beside torchvision."""
    save(folder, model, tokenizer, image)
    (folder / "chat_template.jinja").write_text(template)
    (folder / "processor_config.json").write_text(json.dumps(kind))
    return folder
