"""The likeliest text by beam search, with transformers' own ``generate``.

For models whose ``generation_config`` asks for it. Prompts of one length that want equally many
tokens share a call, so that none is padded: what beams find depends on both.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import StoppingCriteriaList

from modeldeploy.worker.adapter import Item
from modeldeploy.worker.generation.rows import Prompt, Row, Written
from modeldeploy.worker.generation.rules import Rules
from modeldeploy.worker.generation.sampling import Choice, Sampling, choice_of
from modeldeploy.worker.generation.writer import Decode
from modeldeploy.worker.tasks.stopping import Abandoned


def key(prompt: Prompt) -> Any:
    """Equal for prompts that may share a call."""
    how = prompt.sampling
    return "beams", len(prompt.ids), prompt.new, prompt.sequences, how.repetition_penalty


def write(
    model: Any, rules: Rules, items: list[Item], decode: Decode, ends: frozenset[int], pad_id: int
) -> list[list[Written]]:
    """The best sequences of each item, whose prompts have one :func:`key`."""
    prompts: list[Prompt] = [item.data for item in items]
    first = prompts[0]
    ids = torch.tensor([one.ids for one in prompts], device=model.device)
    found = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        generation_config=_config(rules, first, pad_id),
        stopping_criteria=StoppingCriteriaList([Abandoned(items)]),
    )
    rows = iter(found[:, len(first.ids) :].tolist())
    return [
        [
            _written(model, Row(item.data, at, decode, ends, item.sink), next(rows), item)
            for at in range(first.sequences)
        ]
        for item in items
    ]


def _config(rules: Rules, prompt: Prompt, pad_id: int) -> Any:
    config = copy.copy(rules.searching)
    config.do_sample = False
    config.num_beams = prompt.sampling.beams
    config.num_return_sequences = prompt.sequences
    config.max_new_tokens = prompt.new
    config.repetition_penalty = prompt.sampling.repetition_penalty
    config.pad_token_id = pad_id
    return config


def _written(model: Any, row: Row, tokens: list[int], item: Item) -> Written:
    """The sequence as if it had come token by token."""
    prompt: Prompt = item.data
    for choice in _choices(model, prompt.ids, tokens, prompt.sampling):
        row.push(choice)
        if row.written:
            return row.written
    return Written("", "length", 0)  # nobody wants it any more


def _choices(model: Any, prompt: list[int], tokens: list[int], how: Sampling) -> list[Choice]:
    if not (how.logprobs or how.top_n):
        return [Choice(token) for token in tokens]
    whole = torch.tensor([prompt + tokens], device=model.device)
    logits = model(input_ids=whole).logits[0, len(prompt) - 1 : -1].float()
    return [choice_of(one, token, how) for one, token in zip(logits, tokens, strict=True)]
