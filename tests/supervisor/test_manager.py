from __future__ import annotations

import pytest

from modeldeploy.schema.deployment import NAME_PATTERN
from modeldeploy.supervisor.manager import default_name


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("gpt2", "gpt2"),
        ("gpt2@main", "gpt2"),
        ("org/Some_Model.v1", "some-model-v1"),
        ("/home/me/My Models/__x__", "x"),
        ("org/m-GGUF:sub/M.Q4_K.gguf", "m-q4-k"),
        ("org/m-GGUF:M.gguf", "m"),
        ("/models/My.GGUF", "my"),
        ("/models/日本", "model"),
        ("o/" + "a" * 90, "a" * 63),
    ],
)
def test_a_default_name_is_the_last_segment_made_to_fit(model_id: str, name: str) -> None:
    import re

    assert default_name(model_id) == name
    assert re.match(NAME_PATTERN, name)
