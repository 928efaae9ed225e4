"""A table and a question in, the cells that answer it out: what Tapas does.

transformers' tokenizer of Tapas reads a table from pandas, which comes with the extra ``tables``.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import torch

from modeldeploy.errors import InputTooLong, InvalidRequest, UnsupportedModel
from modeldeploy.schema.tasks.tables import (
    TableAnswer,
    TableQuestion,
    TableQuestionAnsweringParameters,
)
from modeldeploy.worker.adapter import BatchLimits, Item, Source
from modeldeploy.worker.failures import one_line
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.scores import check_numbers
from modeldeploy.worker.tasks.tokens import matrix, window_of

_MOST_CELLS = 65_536


@dataclass(frozen=True)
class Cells:
    """A question and a table as tokens; ``types`` holds seven numbers for each: segment, column,
    row, and others of Tapas' own."""

    ids: list[int]
    types: list[list[int]]


@dataclass(frozen=True)
class Scored:
    """One row each of the logits of tokens and, where the model has them, of aggregators."""

    cells: Cells
    logits: torch.Tensor
    aggregation: torch.Tensor | None


class TableQuestionAnswering(ModelAdapter[TableQuestion, TableQuestionAnsweringParameters]):
    quick_pre = False  # its tokenizer is written in Python
    batch = BatchLimits(unit="tokens")

    def load(self, source: Source) -> None:
        if importlib.util.find_spec("pandas") is None:
            raise UnsupportedModel(
                "its tokenizer reads tables with pandas, which is not installed",
                hint='install it with: pip install "modeldeploy[tables]"',
            )
        super().load(source)

    def prepare(self, source: Source) -> None:
        self.tokenizer = checkpoint.load_tokenizer(source)
        if not hasattr(self.tokenizer, "convert_logits_to_predictions"):
            raise UnsupportedModel("its tokenizer reads no tables: only Tapas models are served")
        self._frame: Any = importlib.import_module("pandas").DataFrame
        self._window = window_of(self.config, self.tokenizer)
        labels = self.config.aggregation_labels if self.config.num_aggregation_labels else None
        self._aggregators: dict[int, str] = labels or {}

    def max_input_length(self) -> int | None:
        return self._window

    def pre(
        self, inputs: TableQuestion, parameters: TableQuestionAnsweringParameters
    ) -> list[Item]:
        _check(inputs.table)
        cells = self._cells(inputs, truncation=parameters.truncation)
        if self._window is not None and len(cells.ids) > self._window:
            raise InputTooLong(
                f"query and table have {len(cells.ids)} tokens, the model's window is "
                f"{self._window} tokens",
                hint='send a smaller table, or "truncation": true to leave out its last rows',
            )
        return [Item(cells, len(cells.ids))]

    def _cells(self, inputs: TableQuestion, *, truncation: bool) -> Cells:
        try:
            encoded = self.tokenizer(
                table=self._frame(inputs.table),
                queries=inputs.query,
                truncation="drop_rows_to_fit" if truncation else "do_not_truncate",
                padding=False,
            )
        except ValueError as error:  # of too many rows, columns or tokens
            raise InputTooLong(
                f"table: the model cannot take it: {one_line(error)}", hint="send a smaller table"
            ) from error
        return Cells(list(encoded["input_ids"]), [list(one) for one in encoded["token_type_ids"]])

    def forward(self, items: list[Item]) -> list[Any]:
        rows: list[Cells] = [item.data for item in items]
        output = self.call(
            input_ids=matrix([row.ids for row in rows], self.tokenizer.pad_token_id, left=False),
            attention_mask=matrix([[1] * len(row.ids) for row in rows], 0, left=False),
            token_type_ids=_types(rows),
        )
        logits = output.logits.float().cpu()
        aggregation = output.logits_aggregation if self._aggregators else None
        if aggregation is not None:
            aggregation = aggregation.float().cpu()
        return [
            Scored(
                row,
                logits[at : at + 1, : len(row.ids)],
                None if aggregation is None else aggregation[at : at + 1],
            )
            for at, row in enumerate(rows)
        ]

    def post(
        self,
        raws: list[Any],
        inputs: TableQuestion,
        parameters: TableQuestionAnsweringParameters,
    ) -> TableAnswer:
        raw: Scored = raws[0]
        check_numbers(raw.logits)
        tensors = {
            "input_ids": torch.tensor([raw.cells.ids]),
            "attention_mask": torch.ones(1, len(raw.cells.ids), dtype=torch.long),
            "token_type_ids": torch.tensor([raw.cells.types]),
        }
        # It writes into the logits, which are nobody else's.
        found = self.tokenizer.convert_logits_to_predictions(
            tensors, raw.logits.clone(), raw.aggregation
        )
        coordinates = [(int(row), int(column)) for row, column in next(iter(found[0]), [])]
        columns = list(inputs.table.values())
        cells = [columns[column][row] for row, column in coordinates]
        aggregator, prefix = None, ""
        if raw.aggregation is not None:
            chosen = int(found[1][0])
            aggregator = self._aggregators[chosen]
            prefix = "" if chosen == self.config.no_aggregation_label_index else f"{aggregator} > "
        return TableAnswer(
            answer=prefix + ", ".join(cells),
            coordinates=coordinates,
            cells=cells,
            aggregator=aggregator,
        )


def _check(table: dict[str, list[str]]) -> None:
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        least, most = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise InvalidRequest(
            f"table: the column {least[:80]!r} has {lengths[least]} cells, "
            f"{most[:80]!r} has {lengths[most]}",
            hint="give every column the same number of cells",
        )
    cells = sum(lengths.values())
    if cells > _MOST_CELLS:
        raise InputTooLong(
            f"table: it has {cells} cells, the limit is {_MOST_CELLS}", hint="send a smaller table"
        )


def _types(rows: list[Cells]) -> torch.Tensor:
    """Shape (rows, longest row, 7)."""
    width = max(len(row.ids) for row in rows)
    nothing = [0] * len(rows[0].types[0])
    return torch.tensor([row.types + [nothing] * (width - len(row.ids)) for row in rows])
