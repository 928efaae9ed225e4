"""Images and a text, or a conversation of both, in; texts that go on from it out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias

from modeldeploy.errors import InputTooLong, InvalidRequest, WrongTask
from modeldeploy.schema.tasks.generation import TextGenerationParameters
from modeldeploy.schema.tasks.multimodal import ImageConversation, TextWithImages
from modeldeploy.worker.adapter import BatchLimits, Item, Source
from modeldeploy.worker.generation import fallback
from modeldeploy.worker.generation.rows import Prompt
from modeldeploy.worker.loading import processors
from modeldeploy.worker.tasks import images, templates
from modeldeploy.worker.tasks.choosing import Defaults
from modeldeploy.worker.tasks.conversations import conversation_of, images_of, turn_of
from modeldeploy.worker.tasks.features import Features, joined, processed, shapes
from modeldeploy.worker.tasks.text_generation import TextGeneration

_MOST_CHARACTERS = 2_000_000
_OF_THE_PROMPT = frozenset({"input_ids", "attention_mask"})

Given: TypeAlias = TextWithImages | ImageConversation


@dataclass(frozen=True)
class Seen(Prompt):
    """A prompt with what stands for its images: everything that the processor made."""

    features: Features = field(default_factory=dict)


@dataclass
class _Read:
    """An input while ``pre`` is made of it."""

    features: Features
    is_chat: bool

    @property
    def ids(self) -> list[int]:
        found: list[int] = self.features["input_ids"][0].tolist()
        return found


class ImageTextToText(TextGeneration):
    """Writes as text generation does, on ``generate``: a prompt's images are no tokens that a
    running batch could be joined with."""

    quick_pre = False
    searches = False
    batch = BatchLimits(items=8, size=16384, unit="tokens")

    def load(self, source: Source) -> None:
        super().load(source)
        if self.config.model_type == "blip":
            raise WrongTask(
                "the model (BLIP) describes images; it cannot be asked about them",
                hint="deploy it with --task image-to-text",
            )

    def prepare(self, source: Source) -> None:
        super().prepare(source)
        self._by_length = self._by_length or bool(self.config.is_encoder_decoder)
        self.processor = processors.load_processor(source)
        if self.processor.chat_template:
            hello = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
            templates.check(lambda: self.processor.apply_chat_template(hello))
        mark = getattr(self.processor, "image_token", None)
        self._mark = mark if isinstance(mark, str) else ""
        # Calls of a tokenizer set its truncation and padding, which is state of its own.
        self._processing = threading.Lock()

    def _fitting_slab(self) -> None:
        return None

    def chat(self, messages: list[dict[str, Any]]) -> Any:
        """The input that stands for OpenAI's ``messages``, images as data URIs among their parts.

        Raises:
            InvalidRequest: the model has no chat template, or a part is neither text nor image.
            UrlNotAllowed: an image is only named.
        """
        if not self.processor.chat_template:
            raise InvalidRequest(
                "messages: this model has no chat template, so it knows no conversations",
                hint="use /predict with a text and an image, or deploy an instruct model",
            )
        return conversation_of(messages)

    def chat_template(self) -> Any:
        return self.processor.chat_template

    # Prompts

    def pre(self, inputs: Any, parameters: TextGenerationParameters) -> list[Item]:
        read = _Read(self._features(inputs), isinstance(inputs, ImageConversation))
        made: Any = read
        (item,) = super().pre(made, parameters)
        prompt: Prompt = item.data
        if len(prompt.ids) < len(read.ids):
            raise InvalidRequest(
                f"truncate: the prompt has {len(read.ids)} tokens, some of which are its images'",
                hint="leave truncate out, and send a shorter text or fewer images",
            )
        plain = {one.name: getattr(prompt, one.name) for one in fields(prompt)}
        item.data = Seen(**plain, features=read.features)
        item.key = (item.key, shapes(read.features))
        return [item]

    def _own_way(self, inputs: Any) -> Defaults:
        return self.defaults if inputs.is_chat else replace(self.defaults, sampling=False)

    def _prompt_ids(self, inputs: Any) -> list[int]:
        ids: list[int] = inputs.ids
        return ids

    def _features(self, given: Given) -> Features:
        """What the processor makes of a prompt and its images."""
        if isinstance(given, ImageConversation):
            return self._templated_features(given)
        _check_length(len(given.text))
        marked = given.text.count(self._mark) if self._mark else 0
        if marked and marked != len(images_of(given)):
            raise InvalidRequest(
                f"text: it has places for {marked} images ({self._mark}), and "
                f"{len(images_of(given))} are sent",
                hint="leave the places out: the images then come before the text",
            )
        if self.processor.chat_template and not marked:
            return self._templated_features(turn_of(given))
        return self._plain_features(given)

    def _templated_features(self, given: ImageConversation) -> Features:
        self._check_texts(given)
        shown = iter([images.decode(one).convert("RGB") for one in given.images])
        messages = [
            {
                "role": turn["role"],
                "content": [
                    {"type": "image", "image": next(shown)} if part["type"] == "image" else part
                    for part in turn["content"]
                ],
            }
            for turn in given.messages
        ]
        return self._process(
            lambda: templates.rendered(
                lambda: self.processor.apply_chat_template(
                    messages,
                    add_generation_prompt=True,
                    tokenize=True,
                    return_dict=True,
                    return_tensors="pt",
                )
            ),
            "messages, images",
        )

    def _check_texts(self, given: ImageConversation) -> None:
        texts = [part.get("text", "") for turn in given.messages for part in turn["content"]]
        _check_length(sum(map(len, texts)))
        if self._mark and any(self._mark in text for text in texts):
            raise InvalidRequest(
                f"messages: a text holds {self._mark}, which stands for an image with this model",
                hint="take it out, and send images as parts of their own",
            )

    def _plain_features(self, given: TextWithImages) -> Features:
        """Without a chat template. Images that the text has no place for come before it."""
        shown = [images.decode(one).convert("RGB") for one in images_of(given)]

        def made(text: str) -> Features:
            return self._process(
                lambda: self.processor(text=text, images=shown or None, return_tensors="pt"),
                "text, images",
            )

        if not shown or not self._mark or self._mark in given.text:
            return made(given.text)
        with contextlib.suppress(InvalidRequest):
            found = made(given.text)
            mark_id = self.processor.tokenizer.convert_tokens_to_ids(self._mark)
            if mark_id in found["input_ids"][0].tolist():
                return found  # the processor has put them in their place (PaliGemma's does)
        return made(f"{self._mark * len(shown)}\n{given.text}")

    def _process(self, make: Callable[[], Any], field_names: str) -> Features:
        with self._processing:
            return processed(make, field_names)

    # Writing

    def forward(self, items: list[Item]) -> list[Any]:
        rows = [item.data.features for item in items for _ in range(item.data.sequences)]
        pad_id = self.tokens.pad_id or 0
        tensors = joined(rows, self.model.dtype, pad_id, left=True)
        seen = {name: one for name, one in tensors.items() if name not in _OF_THE_PROMPT}
        return fallback.write(self.model, items, self.text, self.ends, pad_id, seen)


def _check_length(characters: int) -> None:
    if characters > _MOST_CHARACTERS:
        raise InputTooLong(
            f"the text has {characters} characters, the limit is {_MOST_CHARACTERS}",
            hint="shorten it",
        )
