"""Text tasks through huggingface_hub's own client."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import InferenceClient

from tests.clients.served import served
from tests.models import tables, tiny

TEXT = "Ada moved from Paris to London."


def test_token_classification(tmp_path: Path) -> None:
    with served(tiny.tagger(tmp_path / "m"), "token-classification") as one:
        client = InferenceClient(model=one.url)
        groups = client.token_classification(TEXT)
        assert groups
        assert all(group.entity_group and group.start is not None for group in groups)
        single = client.token_classification(TEXT, aggregation_strategy="none", ignore_labels=[])
        assert len(single) > len(groups)
        assert all(token.entity for token in single)


def test_fill_mask(tmp_path: Path) -> None:
    with served(tiny.gap_filler(tmp_path / "m"), "fill-mask") as one:
        found = InferenceClient(model=one.url).fill_mask("Ada lives in [MASK].", top_k=3)
        assert len(found) == 3
        assert found[0].score >= found[1].score


def test_zero_shot_classification(tmp_path: Path) -> None:
    with served(tiny.entailer(tmp_path / "m"), "zero-shot-classification") as one:
        found = InferenceClient(model=one.url).zero_shot_classification(TEXT, ["a city", "a fish"])
        assert {label.label for label in found} == {"a city", "a fish"}
        assert sum(label.score for label in found) > 0.99


def test_table_question_answering(tmp_path: Path) -> None:
    table = {"name": ["Ada", "Grace"], "city": ["London", "Paris"]}
    with served(tables.tapas(tmp_path / "m"), "table-question-answering") as one:
        client = InferenceClient(model=one.url)
        found = client.table_question_answering(table, "Where does Ada live?")
        cells = [list(table.values())[column][row] for row, column in found.coordinates]
        assert found.cells == cells
        for padding in ("do_not_pad", "longest", "max_length"):
            again = client.table_question_answering(
                table, "Where does Ada live?", padding=padding, sequential=True, truncation=True
            )
            assert again == found
