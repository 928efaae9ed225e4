from __future__ import annotations

from pathlib import Path

import pytest

from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "echo"


def test_it_answers_what_it_was_given(tmp_path: Path) -> None:
    adapter = loaded(tmp_path, TASK)
    (found,) = predict(adapter, inputs(TASK, text="hello"), parameters(TASK))
    assert found.text == "hello"


def test_it_fails_when_asked_to(tmp_path: Path) -> None:
    adapter = loaded(tmp_path, TASK)
    with pytest.raises(RuntimeError, match="asked to fail"):
        predict(adapter, inputs(TASK, text="hello"), parameters(TASK, fail=True))


def test_it_stops_waiting_when_nobody_wants_the_answer(tmp_path: Path) -> None:
    adapter = loaded(tmp_path, TASK)
    (item,) = adapter.pre(inputs(TASK, text="hello"), parameters(TASK, delay=60))
    item.dropped = True
    assert adapter.core([item]) == ["hello"]
