"""Tasks that hear or make sound."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import HuggingFace, TaskSchema
from modeldeploy.schema.tasks.media import AUDIO_MEDIA, EXAMPLE_FLAC, AudioFile
from modeldeploy.schema.tasks.text import CandidateLabels, ClassificationParameters, Label

Seconds = Annotated[float, Meta(gt=0, le=60)]
NewTokens = Annotated[int, Meta(ge=1, le=100_000)]
Share = Annotated[float, Meta(gt=0, le=1)]
Cutoff = Annotated[float, Meta(ge=0, lt=1)]


class Audio(Struct, frozen=True):
    audio: AudioFile


class SoundDecoding(Struct, frozen=True, kw_only=True):
    """How ``generate`` decodes, by its own names; of a model that writes token by token. What is
    left out is as the model's ``generation_config`` says."""

    do_sample: bool | None = None
    temperature: Annotated[float, Meta(gt=0, le=100)] | None = None
    top_k: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    top_p: Share | None = None
    typical_p: Share | None = None
    epsilon_cutoff: Cutoff | None = None
    eta_cutoff: Cutoff | None = None
    max_length: (
        Annotated[NewTokens, Meta(description="Tokens, those that the decoder begins with too.")]
        | None
    ) = None
    max_new_tokens: (
        Annotated[NewTokens, Meta(description="New tokens; comes before max_length.")] | None
    ) = None
    min_length: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    min_new_tokens: (
        Annotated[int, Meta(ge=0, le=100_000, description="Comes before min_length.")] | None
    ) = None
    num_beams: Annotated[int, Meta(ge=1, le=16)] | None = None
    early_stopping: bool | Literal["never"] | None = None
    num_beam_groups: (
        Annotated[int, Meta(ge=1, le=1, description="Not supported: only 1.")] | None
    ) = None
    penalty_alpha: (
        Annotated[float, Meta(ge=0, le=0, description="Not supported: only 0.")] | None
    ) = None
    use_cache: (
        Annotated[
            bool,
            Meta(description="Accepted: it would change the speed alone, and a cache is used."),
        ]
        | None
    ) = None


class GenerationParameters(SoundDecoding, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, as huggingface_hub's types have it: in an object of its own."""


Generation = Annotated[
    GenerationParameters,
    Meta(description="The decoding's fields once more; those beside it come first."),
]


class SpeechRecognitionParameters(Struct, frozen=True, kw_only=True):
    """``language``, ``task``, ``num_beams``, ``max_new_tokens`` and ``generation_parameters`` are
    for models that write what they hear (Whisper and its like); those that label each moment (CTC)
    know none of them. Sampling is on when ``do_sample`` says so; when it says nothing, then if
    ``temperature`` or another of its numbers is given."""

    return_timestamps: Annotated[
        bool | Literal["word", "char"],
        Meta(
            description='When each part was said: of segments (true) or "word" by Whisper, '
            '"word" or "char" by CTC models.'
        ),
    ] = False
    language: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                description='The language spoken ("en", "english"); default: detected.',
            ),
        ]
        | None
    ) = None
    task: (
        Annotated[Literal["transcribe", "translate"], Meta(description="translate: into English.")]
        | None
    ) = None
    chunk_length_s: (
        Annotated[
            Seconds,
            Meta(
                description="Seconds of one part of long audio. Default: 30 for CTC models; "
                "Whisper goes through it at its own pace."
            ),
        ]
        | None
    ) = None
    stride_length_s: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=30,
                description="Seconds on each side of a part that only give context; default: a "
                "sixth of chunk_length_s.",
            ),
        ]
        | None
    ) = None
    max_new_tokens: NewTokens | None = None
    num_beams: Annotated[int, Meta(ge=1, le=16, description="Default: the model's own, or 5.")] | (
        None
    ) = None
    generation_parameters: Generation | None = None


class SpeechChunk(Struct, frozen=True):
    """``timestamp`` is start and end in seconds; null where the model did not say."""

    text: str
    timestamp: tuple[float | None, float | None]


class Transcript(Struct, frozen=True, omit_defaults=True):
    """``chunks`` is there when timestamps were asked for."""

    text: str
    chunks: list[SpeechChunk] | None = None


SPEECH_RECOGNITION = TaskSchema(
    name="automatic-speech-recognition",
    abilities=frozenset({"transcriptions"}),
    model_type="audio",
    inputs=Audio,
    parameters=SpeechRecognitionParameters,
    output=Transcript,
    many=("audio", "audios"),
    media=AUDIO_MEDIA,
    example={"audio": EXAMPLE_FLAC},
    result={"text": "he hoped there would be stew for dinner"},
    auto_class="AutoModelForSpeechSeq2Seq",
    adapter="modeldeploy.worker.tasks.speech_recognition:SpeechRecognition",
)


AUDIO_CLASSIFICATION = TaskSchema(
    name="audio-classification",
    model_type="audio",
    inputs=Audio,
    parameters=ClassificationParameters,
    output=list[Label],
    many=("audio", "audios"),
    media=AUDIO_MEDIA,
    example={"audio": EXAMPLE_FLAC},
    result=[{"label": "yes", "score": 0.91}, {"label": "no", "score": 0.05}],
    auto_class="AutoModelForAudioClassification",
    adapter="modeldeploy.worker.tasks.audio_classification:AudioClassification",
)


class ZeroShotAudioParameters(Struct, frozen=True, kw_only=True):
    candidate_labels: CandidateLabels
    hypothesis_template: Annotated[
        str,
        Meta(
            pattern=r"\{\}",
            max_length=1000,
            description="The sentence that each label is compared in, at {}.",
        ),
    ] = "This is a sound of {}."


ZERO_SHOT_AUDIO_CLASSIFICATION = TaskSchema(
    name="zero-shot-audio-classification",
    model_type="audio",
    inputs=Audio,
    parameters=ZeroShotAudioParameters,
    output=list[Label],
    many=("audio", "audios"),
    example={"audio": EXAMPLE_FLAC, "candidate_labels": ["a dog", "a vacuum cleaner"]},
    result=[{"label": "a dog", "score": 0.97}, {"label": "a vacuum cleaner", "score": 0.03}],
    auto_class="AutoModel",
    adapter="modeldeploy.worker.tasks.zero_shot_audio_classification:ZeroShotAudioClassification",
)


class Spoken(Struct, frozen=True):
    text: Annotated[
        str, Meta(min_length=1, max_length=10_000, description="What to say, or to play.")
    ]


class TextToSpeechParameters(SoundDecoding, frozen=True, kw_only=True):
    """How ``generate`` decodes is for models that write sound token by token (Bark, and MusicGen
    without beams); lengths are in their steps. ``speaker_id`` (a voice) and ``speaking_rate`` are
    for VITS, ``speaker_embeddings`` for SpeechT5."""

    seed: (
        Annotated[
            int, Meta(ge=0, le=2**63 - 1, description="The same request then sounds the same.")
        ]
        | None
    ) = None
    generation_parameters: Generation | None = None
    speaker_id: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    speaking_rate: (
        Annotated[float, Meta(ge=0.1, le=10, description="How fast; 1 is the model's own.")] | None
    ) = None
    speaker_embeddings: (
        Annotated[list[float], Meta(min_length=1, max_length=8192, description="An x-vector.")]
        | None
    ) = None


class Sound(Struct, frozen=True):
    """``audio`` is a WAV file (base64 in JSON), ``sampling_rate`` its samples a second."""

    audio: bytes
    sampling_rate: int


_RESULT: dict[str, Any] = {"audio": "UklGRiQAAABXQVZFZm10IA==", "sampling_rate": 16000}

TEXT_TO_SPEECH = TaskSchema(
    name="text-to-speech",
    aliases=("text-to-audio",),
    model_type="audio",
    inputs=Spoken,
    parameters=TextToSpeechParameters,
    output=Sound,
    many=("text", "texts"),
    example={"text": "Hello there, it is good to hear from you."},
    result=_RESULT,
    smoke={"text": "hello", "max_new_tokens": 8},
    auto_class="AutoModelForTextToWaveform",
    hf=HuggingFace(binary="audio/wav"),
    adapter="modeldeploy.worker.tasks.text_to_speech:TextToSpeech",
)

TASKS = (
    SPEECH_RECOGNITION,
    AUDIO_CLASSIFICATION,
    ZERO_SHOT_AUDIO_CLASSIFICATION,
    TEXT_TO_SPEECH,
)
