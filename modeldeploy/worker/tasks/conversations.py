"""Conversations with images: from OpenAI's messages to what chat templates take."""

from __future__ import annotations

import re
from typing import Any

from modeldeploy.errors import InvalidRequest, UrlNotAllowed
from modeldeploy.schema.tasks.multimodal import MOST_IMAGES, ImageConversation, TextWithImages

_DATA_OR_WEB = re.compile(r"(data:|https?://)", re.IGNORECASE)
_SEND = 'send {"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}'


def conversation_of(messages: list[dict[str, Any]]) -> ImageConversation:
    """OpenAI's messages, their images taken out in order.

    Raises:
        InvalidRequest: a part that is neither a text nor an image, or too many images.
        UrlNotAllowed: an image that is a path, or a URL other than http(s): whether one of those
            may be fetched is for :mod:`modeldeploy.worker.http.media` to say.
    """
    images: list[str] = []
    turned = [
        {"role": _role(one["role"]), "content": _content(at, one["content"], images)}
        for at, one in enumerate(messages)
    ]
    if len(images) > MOST_IMAGES:
        raise InvalidRequest(
            f"messages: they hold {len(images)} images, the limit is {MOST_IMAGES}"
        )
    return ImageConversation(messages=turned, images=images)


def turn_of(given: TextWithImages) -> ImageConversation:
    """A text and its images as one turn of a user."""
    shown = images_of(given)
    content = [*({"type": "image"} for _ in shown), {"type": "text", "text": given.text}]
    return ImageConversation(messages=[{"role": "user", "content": content}], images=shown)


def images_of(given: TextWithImages) -> list[str]:
    """
    Raises:
        InvalidRequest: both fields are given.
    """
    if given.image is not None and given.images is not None:
        raise InvalidRequest("at most one of `image` and `images` may be given")
    return [given.image] if given.image is not None else list(given.images or [])


def _role(role: str) -> str:
    """Templates know no developers: to them they are the system."""
    return "system" if role == "developer" else role


def _content(
    at: int, content: str | list[dict[str, Any]], images: list[str]
) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_part(f"messages[{at}].content[{n}]", part, images) for n, part in enumerate(content)]


def _part(where: str, part: dict[str, Any], images: list[str]) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind != "image_url":
        raise InvalidRequest(
            f"{where}: it is neither a text nor an image_url but {str(kind)[:50]!r}", hint=_SEND
        )
    named = part.get("image_url")
    url = named.get("url") if isinstance(named, dict) else None
    if not isinstance(url, str):
        raise InvalidRequest(f"{where}: image_url has no url", hint=_SEND)
    if not _DATA_OR_WEB.match(url):
        raise UrlNotAllowed(f"{where}: URLs and file paths are not opened", hint=_SEND)
    images.append(url)
    return {"type": "image"}
