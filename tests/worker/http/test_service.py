from __future__ import annotations

import numpy as np

from modeldeploy.schema.tasks.embeddings import SentencePairs
from modeldeploy.schema.tasks.generation import Conversation, Message
from modeldeploy.schema.tasks.text import QuestionContext
from modeldeploy.worker.http.weight import QUICK, weight


def test_what_is_long_is_known_wherever_it_stands() -> None:
    assert weight(QuestionContext(question="12", context="345")) >= 5
    assert weight(Conversation(messages=[Message(role="user", content="x" * 99)])) > 99
    assert weight(np.zeros(10, np.float32)) == 40
    assert weight([0.5, 1, 2.5]) == weight({"a": 0.5, "b": 1, "c": 2.5}) == 3
    assert weight([1, "x" * 99, 2.5]) > 99
    assert weight([[0.5] * 999] * 5) > QUICK
    assert weight("x" * QUICK * 1000, ["y"] * 10**6) > QUICK
    assert weight(SentencePairs(source_sentence="1", sentences=["23", "456"])) >= 6
