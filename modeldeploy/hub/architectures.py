"""From the names in ``config.architectures`` to tasks, without importing transformers (2.7 s).

The names follow transformers' habit ``<Model>For<Head>``; the exceptions come first. Tasks are the
Hub's (https://huggingface.co/tasks), those that we do not serve included, so that an error can
name them.
"""

from __future__ import annotations

import re

_SPEECH = "Wav2Vec2|Hubert|WavLM|UniSpeech|SEW|Data2VecAudio|Whisper|AST|Speech|Moonshine|Granite[Ss]peech"
_WRITES_TEXT_FROM_TEXT = ("translation", "summarization", "text2text-generation")
_TEXT_TO_TEXT = "T5|MT5|UMT5|LongT5|Bart|MBart|Pegasus|PegasusX|BigBirdPegasus|Blenderbot|BlenderbotSmall|LED|M2M100|ProphetNet|PLBart|FSMT|SwitchTransformers|NllbMoe|Mvp"
_SEES_AND_WRITES = r"InstructBlip|Llava|VipLlava|VideoLlava|Idefics|SmolVLM|Qwen\w*VL|PaliGemma|Gemma3n?(?!ForCausalLM)|Mllama|Llama4(?!ForCausalLM)|Mistral3|InternVL|AyaVision|Aria|Florence2|Kosmos2|Ovis2|GotOcr2|Glm4v|Lfm2Vl|Fuyu|Emu3|Janus|Chameleon|PerceptionLM"

# A pattern that the whole name matches → the tasks it may be for, the likeliest first.
_TABLE: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"Echo", ("echo",)),
    (rf"(?:{_SPEECH})\w*ForSequenceClassification", ("audio-classification",)),
    (
        rf"(?:{_SPEECH})\w*ForConditionalGeneration|\w*ForSpeechToText|SpeechEncoderDecoderModel",
        ("automatic-speech-recognition",),
    ),
    (r"SpeechT5ForSpeechToSpeech", ("audio-to-audio",)),
    (r"Tapas\w*ForQuestionAnswering", ("table-question-answering",)),
    (r"Layout\w*ForQuestionAnswering", ("document-question-answering",)),
    (r"(?:Vilt|Lxmert|Blip\w*)ForQuestionAnswering", ("visual-question-answering",)),
    (rf"(?:{_TEXT_TO_TEXT})ForConditionalGeneration", _WRITES_TEXT_FROM_TEXT),
    (r"MarianMTModel", ("translation",)),
    (
        r"(?:CLIP|Siglip|Siglip2|ChineseCLIP|AltCLIP|Align|Blip|MetaClip2)Model",
        ("zero-shot-image-classification",),
    ),
    (r"Clap\w*Model", ("zero-shot-audio-classification",)),
    (r"(?:Vits|Bark|SpeechT5|MusicGen|Musicgen|FastSpeech2)\w*", ("text-to-speech",)),
    (
        r"(?:ViT|ViTMAE|ViTMSN|DeiT|IJepa|Dinov2|Dinov2WithRegisters|DINOv3\w*|Beit|Data2VecVision|Swin|Swinv2|Hiera|Pvt|PvtV2|ConvNext|ConvNextV2|ResNet|RegNet|EfficientNet|MobileViT|MobileNetV[12])Model",
        ("image-feature-extraction",),
    ),
    (r"Blip2?ForConditionalGeneration", ("image-to-text",)),
    (
        r"GitForCausalLM|VisionEncoderDecoderModel|Pix2StructForConditionalGeneration",
        ("image-to-text",),
    ),
    (rf"(?:{_SEES_AND_WRITES})\w*For(?:ConditionalGeneration|CausalLM)", ("image-text-to-text",)),
    (r"\w*ForSequenceClassification", ("text-classification",)),
    (r"\w*ForQuestionAnswering(?:Simple)?", ("question-answering",)),
    (r"\w*For(?:Image|Video)TextToText", ("image-text-to-text",)),
    (r"\w*ForVisualQuestionAnswering", ("visual-question-answering",)),
    (r"\w*(?:ForCausalLM|LMHeadModel)", ("text-generation",)),
    (
        r"\w*ForImageClassification(?:WithTeacher|Fourier|LearnedPositionEmbeddings)?",
        ("image-classification",),
    ),
    (r"\w*(?:ForMaskedLM|WithLMHeadModel)", ("fill-mask",)),
    (r"\w*ForTokenClassification", ("token-classification",)),
    (r"\w*ForVideoClassification", ("video-classification",)),
    (r"\w*ForAudioClassification", ("audio-classification",)),
    (r"\w*(?:ForCTC|ForSpeechSeq2Seq|ForTDT|ForRNNT)", ("automatic-speech-recognition",)),
    (
        r"\w*ForZeroShotObjectDetection|(?:OwlViT|Owlv2|(?:MM)?GroundingDino|OmDetTurbo)ForObjectDetection",
        ("zero-shot-object-detection",),
    ),
    (r"\w*ForObjectDetection", ("object-detection",)),
    (r"\w*For(?:Semantic|Instance|Universal|Image|Panoptic)Segmentation", ("image-segmentation",)),
    (r"\w*ForDepthEstimation", ("depth-estimation",)),
    (r"\w*ForKeypointMatching", ("keypoint-matching",)),
    (r"\w*ForKeypointDetection", ("keypoint-detection",)),
    (r"\w*For(?:TextToWaveform|TextToSpectrogram|TextToSpeech)", ("text-to-speech",)),
    (r"\w*ForImageToImage|\w*ForImageSuperResolution", ("image-to-image",)),
    (r"\w*ForMultipleChoice", ("multiple-choice",)),
    (r"(?:Sam\d?\w*|EdgeTam)Model", ("mask-generation",)),
    (r"\w*ForSeq2SeqLM", _WRITES_TEXT_FROM_TEXT),
    (r"\w*ForConditionalGeneration", ("image-text-to-text", *_WRITES_TEXT_FROM_TEXT)),
    (r"\w*Model", ("feature-extraction",)),
)

HUB_TASKS = frozenset(
    {task for _, tasks in _TABLE for task in tasks}
    | {
        *("any-to-any", "image-to-text", "sentence-similarity", "text-ranking", "text-to-audio"),
        *("zero-shot-classification", "tabular-classification", "tabular-regression"),
        *("text-to-image", "text-to-video", "image-to-video", "unconditional-image-generation"),
        *("reinforcement-learning", "robotics", "graph-ml", "time-series-forecasting"),
        *("video-text-to-text", "visual-document-retrieval", "audio-to-audio", "image-to-3d"),
        *("voice-activity-detection", "audio-text-to-text", "text-to-3d", "image-text-to-image"),
    }
)


def tasks_of(architecture: str) -> tuple[str, ...]:
    """The tasks a class of that name may be for, the likeliest first; none for an unknown name."""
    for pattern, tasks in _TABLE:
        if re.fullmatch(pattern, architecture):
            return tasks
    return ()
