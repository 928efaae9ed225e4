"""Tasks whose input is a table."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import TaskSchema

Column = Annotated[list[str], Meta(min_length=1, max_length=10_000)]


class TableQuestion(Struct, frozen=True, kw_only=True):
    query: Annotated[str, Meta(min_length=1, description="What is asked.")]
    table: Annotated[
        dict[str, Column],
        Meta(
            min_length=1,
            max_length=1024,
            description="The cells of each column by its name; all columns of one length.",
        ),
    ]


class TableQuestionAnsweringParameters(Struct, frozen=True, kw_only=True):
    truncation: Annotated[
        bool,
        Meta(description="Leave out the last rows of a table longer than the model's window."),
    ] = False
    padding: (
        Annotated[
            Literal["do_not_pad", "longest", "max_length"],
            Meta(description="Accepted: padding is masked and changes no answer."),
        ]
        | None
    ) = None
    sequential: Annotated[
        bool,
        Meta(description="Accepted: a request asks one question, which no other comes before."),
    ] = False


class TableAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``coordinates`` are (row, column) of the ``cells`` that the answer is made of; ``aggregator``
    is what to do with them, where the model says it."""

    answer: str
    coordinates: list[tuple[int, int]]
    cells: list[str]
    aggregator: str | None = None


TABLE_QUESTION_ANSWERING = TaskSchema(
    name="table-question-answering",
    model_type="nlp",
    inputs=TableQuestion,
    parameters=TableQuestionAnsweringParameters,
    output=TableAnswer,
    example={
        "query": "Where does Ada live?",
        "table": {"name": ["Ada", "Grace"], "city": ["London", "New York"]},
    },
    result={"answer": "London", "coordinates": [[0, 1]], "cells": ["London"]},
    auto_class="AutoModelForTableQuestionAnswering",
    adapter="modeldeploy.worker.tasks.table_question_answering:TableQuestionAnswering",
)

TASKS = (TABLE_QUESTION_ANSWERING,)
