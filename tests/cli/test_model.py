"""What MODEL means where it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeldeploy.cli.model import parse_model


@pytest.mark.parametrize(
    ("typed", "revision", "meant"),
    [
        ("org/m", None, ("org/m", None)),
        ("org/m@v2", None, ("org/m", "v2")),
        ("org/m:m-Q4.gguf", "v2", ("org/m:m-Q4.gguf", "v2")),
        ("org/m@v2:sub/m-Q4.gguf", None, ("org/m:sub/m-Q4.gguf", "v2")),
    ],
)
def test_ids_of_the_hub(typed: str, revision: str | None, meant: tuple[str, str | None]) -> None:
    assert parse_model(typed, revision) == meant


def test_a_gguf_file_that_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_model("m.gguf", None) == ("m.gguf", None)
    (tmp_path / "m.gguf").touch()
    assert parse_model("m.gguf", None) == (str(tmp_path / "m.gguf"), None)
