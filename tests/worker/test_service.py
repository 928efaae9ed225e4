from __future__ import annotations

from modeldeploy.schema.tasks.embeddings import SentencePairs
from modeldeploy.schema.tasks.text import QuestionContext
from modeldeploy.worker.service import _weight


def test_what_is_long_is_known_wherever_it_stands() -> None:
    assert _weight(QuestionContext(question="12", context="345")) == 5
    assert _weight(SentencePairs(source_sentence="1", sentences=["23", "456"])) == 6
