"""Models that make spectrograms need a second one that makes sound of them."""

from __future__ import annotations

from modeldeploy.schema.tasks.audio import TEXT_TO_SPEECH

FOLDER = "vocoder"  # in a local directory it may lie beside the model
_OF_ARCHITECTURE = {"SpeechT5ForTextToSpeech": "microsoft/speecht5_hifigan"}


def vocoder_of(task: str, architectures: list[str]) -> str | None:
    """The id of the vocoder that transformers' pipeline takes, None where none is needed."""
    if task != TEXT_TO_SPEECH.name:
        return None
    found = (_OF_ARCHITECTURE.get(name) for name in architectures)
    return next((vocoder for vocoder in found if vocoder), None)
