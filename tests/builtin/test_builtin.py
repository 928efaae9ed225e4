"""The directory of embedded models."""

from __future__ import annotations

import pytest

from modeldeploy import builtin


@pytest.mark.parametrize("name", builtin.names())
def test_every_embedded_model_has_the_hub_layout(name: str) -> None:
    files = {file.name for file in builtin.path(name).iterdir()}
    assert {"config.json", "model.safetensors", "README.md"} <= files


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        builtin.path("gpt-5")
