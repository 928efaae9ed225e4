from __future__ import annotations

import pytest

from tests.models import minilm
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "sentence-similarity"


def test_similarities_are_cosines_in_order() -> None:
    adapter = loaded(minilm.folder(), TASK)
    asked = inputs(
        TASK,
        source_sentence="How do I get my money back?",
        sentences=["The cat sleeps.", "How can I receive a refund?", "How do I get my money back?"],
    )
    found = predict(adapter, asked, parameters(TASK))
    assert found[2] == pytest.approx(1, abs=1e-5)
    assert found[1] > 0.5 > found[0]
