from __future__ import annotations

import msgspec
import pytest

from modeldeploy.schema.tasks.generation import TextGenerationParameters
from modeldeploy.worker.dialects.openai_common import whole_window


@pytest.mark.parametrize(("window", "asked"), [(None, None), (64, 64), (2**21, 1_000_000)])
def test_all_of_a_models_window_is_something_that_may_be_asked_for(
    window: int | None, asked: int | None
) -> None:
    assert whole_window(window) == asked
    made = msgspec.convert({"max_length": whole_window(window)}, TextGenerationParameters)
    assert made.max_length == asked
