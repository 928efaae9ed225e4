"""A prompt in, texts that go on from it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from modeldeploy.errors import InputTooLong, InvalidRequest, WrongTask
from modeldeploy.schema.tasks.generation import GeneratedText, TextGenerationParameters
from modeldeploy.schema.tasks.text import Text
from modeldeploy.worker import checkpoint
from modeldeploy.worker.tasks.base import BatchLimits, Item, Source
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.tokens import Tokens, matrix

_DEFAULT_NEW_TOKENS = 50
_COLDEST = 1e-3  # below it, and at 0, the likeliest token is taken
_MOST_CHARACTERS = 2_000_000
_STOP_CONTEXT = 8


@dataclass(frozen=True)
class Sampling:
    """Parameters that a whole batch shares; None leaves the model's own default."""

    sample: bool
    temperature: float | None
    top_k: int | None
    top_p: float | None
    repetition_penalty: float | None
    seed: int | None
    sequences: int
    prompt_tokens: int | None = None


@dataclass
class Prompt:
    """``ids`` to go on from with at most ``new`` tokens, until one of ``stops`` was written."""

    sampling: Sampling
    ids: list[int]
    new: int
    stops: tuple[str, ...]


class TextGeneration(ModelAdapter[Text, TextGenerationParameters]):
    generates = True
    batch = BatchLimits(items=16, size=16384)

    def load(self, source: Source) -> None:
        super().load(source)
        names = [str(name) for name in getattr(self.config, "architectures", None) or []]
        if names and all(name.endswith("ForMaskedLM") for name in names):
            raise WrongTask(
                f"the model ({names[0]}) fills gaps; it was not trained to go on with a text",
                hint="deploy a model made for text-generation",
            )

    def prepare(self, source: Source) -> None:
        self.tokens = Tokens(checkpoint.load_tokenizer(source), self.config)
        defaults = self.model.generation_config
        ends = defaults.eos_token_id
        self._eos = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        if self.tokens.pad_id is None:
            self.tokens.pad_id = next(iter(self._eos), None)
        self._default_new: int = defaults.max_new_tokens or _DEFAULT_NEW_TOKENS
        self._by_length = bool(getattr(self.model, "_is_stateful", False))

    def max_input_length(self) -> int | None:
        return self.tokens.window

    def pre(self, inputs: Text, parameters: TextGenerationParameters) -> list[Item]:
        ids = self._prompt_ids(inputs.text)
        new = self._new_tokens(len(ids), parameters)
        sampling = _sampling(parameters, len(ids) if self._by_length else None)
        stops = parameters.stop
        prompt = Prompt(
            sampling, ids, new, (stops,) if isinstance(stops, str) else tuple(stops or ())
        )
        alone = object() if sampling.seed is not None else None  # company would change its numbers
        return [Item(prompt, (len(ids) + new) * sampling.sequences, (sampling, alone))]

    def _prompt_ids(self, text: str) -> list[int]:
        if len(text) > _MOST_CHARACTERS:
            raise InputTooLong(
                f"the prompt has {len(text)} characters, the limit is {_MOST_CHARACTERS}",
                hint="shorten the prompt",
            )
        ids = self.tokens.encode(text).ids
        if ids:
            return ids
        begin = self.tokens.tokenizer.bos_token_id
        if begin is None:
            raise InvalidRequest("text: it is empty, and the model has no token to begin with")
        return [begin]

    def _new_tokens(self, prompt: int, parameters: TextGenerationParameters) -> int:
        """How many tokens to write at most."""
        window = self.tokens.window
        if window is not None and prompt >= window:
            raise InputTooLong(
                f"the prompt has {prompt} tokens, the model's window is {window} tokens",
                hint="shorten the prompt",
            )
        asked = [parameters.max_new_tokens] if parameters.max_new_tokens else []
        if parameters.max_length is not None:
            if parameters.max_length <= prompt:
                raise InputTooLong(
                    f"max_length is {parameters.max_length} and the prompt alone has {prompt} tokens",
                    hint="max_length counts prompt and new tokens; raise it, or give max_new_tokens",
                )
            asked.append(parameters.max_length - prompt)
        if not asked:
            return self._default_new if window is None else min(self._default_new, window - prompt)
        new = min(asked)
        if window is not None and prompt + new > window:
            raise InputTooLong(
                f"prompt and new tokens are {prompt} + {new} = {prompt + new}, "
                f"the model's window is {window} tokens",
                hint=f"ask for at most {window - prompt} new tokens",
            )
        return new

    def forward(self, items: list[Item]) -> list[Any]:
        sampling: Sampling = items[0].data.sampling
        if sampling.seed is None:
            return self._generate(items, sampling)
        on = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=on):
            torch.manual_seed(sampling.seed)
            return self._generate(items, sampling)

    def _generate(self, items: list[Item], sampling: Sampling) -> list[Any]:
        prompts: list[Prompt] = [item.data for item in items]
        ids = matrix([prompt.ids for prompt in prompts], self.tokens.pad_id or 0, left=True)
        mask = matrix([[1] * len(prompt.ids) for prompt in prompts], 0, left=True)
        chosen = {
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "repetition_penalty": sampling.repetition_penalty,
        }
        width = ids.shape[1]
        written = self.model.generate(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device),
            do_sample=sampling.sample,
            num_beams=1,
            num_return_sequences=sampling.sequences,
            max_new_tokens=max(prompt.new for prompt in prompts),
            pad_token_id=self.tokens.pad_id or 0,
            stopping_criteria=StoppingCriteriaList([_Done(self, items, width, sampling.sequences)]),
            **{name: value for name, value in chosen.items() if value is not None},
        )
        rows = written[:, width:].tolist()
        step = sampling.sequences
        return [
            [self._ended(row, prompt.new) for row in rows[at * step : (at + 1) * step]]
            for at, prompt in enumerate(prompts)
        ]

    def _ended(self, row: list[int], new: int) -> list[int]:
        """A row without what stands behind its end of text, which is left out too."""
        row = row[:new]
        end = next((at for at, token in enumerate(row) if token in self._eos), len(row))
        return row[:end]

    def text(self, ids: list[int]) -> str:
        """Decoded, without special tokens."""
        decoded: str = self.tokens.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

    def post(
        self, raws: list[Any], inputs: Text, parameters: TextGenerationParameters
    ) -> list[GeneratedText]:
        prompt = self._prompt_ids(inputs.text)
        before = len(self.text(prompt))
        stops = [parameters.stop] if isinstance(parameters.stop, str) else parameters.stop or []
        start = inputs.text if parameters.return_full_text else ""
        # Decoded behind its prompt: alone, a first token may lose the space before it.
        return [
            GeneratedText(start + _cut(self.text(prompt + row)[before:], stops)) for row in raws[0]
        ]


class _Done(StoppingCriteria):  # type: ignore[misc]  # transformers is not followed by mypy
    """Ends each row at its own length, at its stop strings, or when nobody wants it any more."""

    def __init__(
        self, adapter: TextGeneration, items: list[Item], width: int, sequences: int
    ) -> None:
        self._adapter = adapter
        self._items = [item for item in items for _ in range(sequences)]
        self._width = width

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        new = input_ids.shape[1] - self._width
        done = [
            item.dropped or new >= item.data.new or self._stopped(item.data, input_ids[row])
            for row, item in enumerate(self._items)
        ]
        return torch.tensor(done, device=input_ids.device)

    def _stopped(self, prompt: Prompt, row: Any) -> bool:
        if not prompt.stops:
            return False
        # A token holds at least one byte, so a stop string is within this many of the last ones.
        tail = max(len(stop.encode()) for stop in prompt.stops) + _STOP_CONTEXT
        text = self._adapter.text(row[self._width :][-tail:].tolist())
        return any(stop in text for stop in prompt.stops)


def _sampling(parameters: TextGenerationParameters, prompt_tokens: int | None) -> Sampling:
    cold = parameters.temperature is not None and parameters.temperature < _COLDEST
    steered = (parameters.temperature, parameters.top_k, parameters.top_p)
    several = parameters.num_return_sequences > 1
    sample = parameters.do_sample
    if sample is None:
        sample = several or any(value is not None for value in steered)
    sample = sample and not cold
    if several and not sample:
        raise InvalidRequest(
            f"num_return_sequences is {parameters.num_return_sequences}, and without sampling "
            "they would all be the same",
            hint="leave do_sample out, and temperature 0 too",
        )
    return Sampling(
        sample=sample,
        temperature=parameters.temperature if sample else None,
        top_k=parameters.top_k if sample else None,
        top_p=parameters.top_p if sample else None,
        repetition_penalty=parameters.repetition_penalty,
        seed=parameters.seed if sample else None,
        sequences=parameters.num_return_sequences,
        prompt_tokens=prompt_tokens,
    )


def _cut(text: str, stops: list[str]) -> str:
    """``text`` up to the first of ``stops``."""
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text
