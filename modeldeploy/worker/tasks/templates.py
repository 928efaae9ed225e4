"""Chat templates are programs of a model's author: they get so much time, and end when nobody waits.

Jinja's sandbox bounds what a template may touch, not how long it runs. It is Python once compiled, and
so can be looked at line by line: only its own lines are, so that nothing else is slowed down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from modeldeploy.errors import ModelError
from modeldeploy.worker import effort

T = TypeVar("T")

SECONDS = 5.0
_FILE = "<template>"  # what jinja2 calls one that comes from no file


class TookTooLong(Exception):
    """A template was still at work after so many seconds."""


def rendered(render: Callable[[], T]) -> T:
    """What ``render`` makes with a chat template, whose time begins with its first line.

    Raises:
        TookTooLong. Dropped: nobody waits for it any more. And whatever the template raises.
    """
    ends = 0.0

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal ends
        if frame.f_code.co_filename != _FILE:
            return None
        now = time.monotonic()
        ends = ends or now + SECONDS
        if now > ends:
            raise TookTooLong(f"it was not done after {SECONDS:g} seconds")
        effort.go_on()
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        return render()
    finally:
        sys.settrace(before)


def check(render: Callable[[], Any]) -> None:
    """Try a template on a conversation that it should take. One that refuses it may take others.

    Raises:
        ModelError: it does not come to an end.
    """
    try:
        rendered(render)
    except TookTooLong as error:
        raise ModelError(
            f"the model's chat template does not come to an end: {error}",
            hint="deploy another model, or one whose tokenizer has no chat template",
        ) from error
    except Exception:  # templates are programs, and refuse in their own words when they are asked
        return
