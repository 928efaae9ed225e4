"""A prompt or a conversation in, texts that go on from it out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import torch

from modeldeploy.errors import InputTooLong, InvalidRequest, ModelTooLarge, WrongTask
from modeldeploy.schema.computing import Batching, Optimize
from modeldeploy.schema.graph import Form, GraphNote, Runtime, StoredGraph
from modeldeploy.schema.tasks.generation import (
    Conversation,
    Details,
    GeneratedText,
    Message,
    StreamedToken,
    TextGenerationParameters,
    Token,
)
from modeldeploy.schema.tasks.text import Text
from modeldeploy.worker.adapter import BatchLimits, Item, ModelInfo, Source
from modeldeploy.worker.batching.front import Front
from modeldeploy.worker.compute import rotations
from modeldeploy.worker.failures import one_line
from modeldeploy.worker.generation import beams, captured, fallback, rounding
from modeldeploy.worker.generation.check import companions, fitting_slab, reads_in_parts
from modeldeploy.worker.generation.engine import Engine
from modeldeploy.worker.generation.graph_slab import FEW, GraphSlab, allowed, difference
from modeldeploy.worker.generation.prefixes import MOST_PROMPTS
from modeldeploy.worker.generation.rows import Piece, Prompt, Written
from modeldeploy.worker.generation.rules import Rules
from modeldeploy.worker.generation.sampling import Choice
from modeldeploy.worker.generation.slab import Running, Slab, Unfit
from modeldeploy.worker.generation.step_graph import StepGraph
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.loading.devices import kept_bytes, memory_name
from modeldeploy.worker.tasks import templates
from modeldeploy.worker.tasks.choosing import Defaults, sampling_of
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.spelling import Speller
from modeldeploy.worker.tasks.tokens import Tokens

log = logging.getLogger(__name__)

_MOST_CHARACTERS = 2_000_000
_SHARE_OF_PREFIXES = 8
_LEAST_TOKENS = 64
_EACH = 2.2  # times a text: with columns to spare, and its prompt while it is read
_MOST_ROWS = 16
_MOST_ROWS_GPU = 64
# Texts of open length that have room at once, and new tokens that each may have in any case.
_BESIDE, _FAIR_TOKENS = 8, 2048

Asked = Text | Conversation


class TextGeneration(ModelAdapter[Asked, TextGenerationParameters]):
    generates = True
    steps = True
    searches: ClassVar[bool] = True  # with beams, where the model's generation_config says so
    batch = BatchLimits(items=16, size=16384, unit="tokens")
    runtimes: ClassVar[tuple[Runtime, ...]] = ("onnx",)
    typical_rows = (1, 8, 64)  # steps of one and of several texts, and a prompt

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
        if self.tokens.tokenizer.chat_template:
            templates.check(lambda: self._filled([{"role": "user", "content": "Hello"}]))
        self.memory, self.others = source.memory, source.reserved
        own = self.model.generation_config
        ends = own.eos_token_id
        self.ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        if self.tokens.pad_id is None:
            self.tokens.pad_id = next(iter(self.ends), None)
        self.defaults = Defaults.of(own)
        self.rules = Rules(self.model, searches=self.searches)
        for note in self.rules.notes:
            log.warning("%s", note)
        self.speller = Speller(self.tokens.tokenizer)
        self._special = frozenset(self.tokens.tokenizer.all_special_ids)
        self._slab: Running | None = self._fitting_slab()
        self._in_parts = self._slab is not None and reads_in_parts(self.model)
        self._engine: Engine | None = None
        self._most_places: int | None = None  # keys and values that there is memory for
        self._longest_beside = rotations.longest(self.model)
        self.exports = self._slab is not None
        self._by_length = False
        if isinstance(self._slab, Slab):
            with torch.inference_mode():
                self._place_bytes = self._slab.place_bytes()
            self._refuse_without_room()
        else:
            who = companions(self.model, self.tokens.pad_id or 0)
            self._by_length = who != "any"
            if who == "none":
                self.batch = replace(self.batch, items=1)

    def approximate(self) -> None:
        if self.device.type != "cpu":
            super().approximate()
            return
        try:
            self.runs["steps"] = rounding.round_weights(self.model, self._text_ids())
        except Exception as error:  # a model that reads more than tokens
            log.info("no int8 weights: %s: %s", type(error).__name__, error)

    def settle(self, *, optimize: Optimize, graph: StoredGraph | None = None) -> None:
        super().settle(optimize=optimize, graph=graph)
        if self._slab is None or self.device.type != "cuda":
            return
        self.runs.pop("steps", None)
        if optimize == "no":
            return
        places = kept_bytes(self.device, self.memory, self.others) // self._place_bytes
        try:
            slab, told = captured.faster_slab(self.model, places, self.max_input_length())
        except Exception as error:  # whatever an exotic model, or a GPU that is full, raises
            why = str(error) if isinstance(error, Unfit) else one_line(error)
            log.info("no step is captured of this model: %s", why)
            told = f"launched kernel by kernel: {why}"
        else:
            self._slab = slab
        self.runs["steps"] = told

    def _fitting_slab(self) -> Slab | None:
        return None if self.rules.beams > 1 else fitting_slab(self.model)

    def front(
        self,
        max_queue: int,
        on_batch: Callable[[int], None],
        batching: Batching = Batching(),  # noqa: B008  # frozen
    ) -> Front:
        if self._slab is None:
            return super().front(max_queue, on_batch, batching)
        rows = _MOST_ROWS if self.device.type == "cpu" else _MOST_ROWS_GPU
        rows = batching.max_size or rows
        most = kept_bytes(self.device, self.memory, self.others)
        if isinstance(self._slab, GraphSlab):
            most += self._slab.held * self._place_bytes
        prefixes = most // _SHARE_OF_PREFIXES if self._in_parts else 0
        self._kept_bytes = min(most, self._ever_taken(rows, prefixes))
        self._most_places = (most - prefixes) // self._place_bytes
        places = min(self._most_places, batching.max_tokens or self._most_places)
        self._engine = Engine(
            self._slab,
            self.text,
            self.ends,
            rows,
            places,
            self._most_places,
            prefixes,
            max_queue,
            on_batch=on_batch,
            on_step=self._on_step,
            longest_beside=self._longest_beside,
            write_alone=lambda item: self.forward([item])[0],
            in_parts=self._in_parts,
        )
        return self._engine

    def _ever_taken(self, rows: int, prefixes: int) -> int:
        """Bytes of so many texts that are as long as the model's window, and of prompts that are kept
        within ``prefixes``."""
        if self._place_bytes == 1:  # a recurrent state does not grow
            return 0
        if (window := self.tokens.window) is None:
            return sys.maxsize
        one = window * self._place_bytes
        return int(_EACH * rows * one) + min(prefixes, MOST_PROMPTS * one)

    def _refuse_without_room(self) -> None:
        """
        Raises:
            ModelTooLarge: no text would have room for its keys and values.
        """
        room = kept_bytes(self.device, self.memory, self.others)
        if room >= _LEAST_TOKENS * self._place_bytes:
            return
        theirs = self.others.bytes.get(memory_name(self.device), 0)
        raise ModelTooLarge(
            f"beside its weights there is memory for the keys and values of {room // self._place_bytes} "
            f"tokens; other deployments may still take {theirs / 1e9:.1f} GB",
            hint="stop another deployment that writes, or free memory, then modeldeploy start NAME",
        )

    @property
    def reserved(self) -> dict[str, int]:
        if self._engine is None or self._slab is None:
            return {}
        held = self._slab.held * self._place_bytes + self._engine.held_bytes
        still = max(0, self._kept_bytes - held)
        return {memory_name(self.device): still} if still else {}

    def _on_step(self, seconds: float) -> None:
        if hear := self.on_call:  # another thread may end that meanwhile
            hear([], seconds)

    # A graph of the step, which the running batch is written on; ``generate`` stays with torch.

    @property
    def predicts_less(self) -> bool:
        return False  # predictions of whole calls are torch's

    def graph_of(self, stored: StoredGraph) -> StepGraph:
        return StepGraph(stored, self.threads)

    def is_like(self, graph: Any) -> bool:
        return difference(self.model, graph, self._text_ids()[:FEW]) <= allowed(graph)

    def make_graph(self, items: list[Item], folder: Path, form: Form, threads: int) -> GraphNote:
        from modeldeploy.worker.generation import step_export  # with torch's exporter

        return step_export.make(self.model, folder, form, threads, self._text_ids())

    def _text_ids(self) -> list[int]:
        """Tokens of a text that rounded weights are tried on."""
        return self.tokens.encode(rounding.TEXT).ids

    def stand_in(self, graph: Any) -> None:
        if self._slab is None:
            return
        slab = GraphSlab(self.model, graph) if graph else Slab(self.model)
        if self._engine:
            self._engine.move_to(slab)
        self._slab = slab

    def chat(self, messages: list[dict[str, Any]]) -> Conversation:
        """The input that stands for OpenAI's ``messages``, whose content is a text or its parts.

        Raises:
            InvalidRequest: a part is no text.
        """
        return Conversation(
            messages=[Message(role=_role(one), content=_plain(one["content"])) for one in messages]
        )

    def max_input_length(self) -> int | None:
        return self.tokens.window

    def info(self) -> ModelInfo:
        return msgspec.structs.replace(super().info(), notes=self.rules.notes)

    def chat_template(self) -> Any:
        return self.tokens.tokenizer.chat_template

    # Prompts

    def is_quick(self, inputs: Asked) -> bool:
        return super().is_quick(inputs) and not isinstance(inputs, Conversation)

    def pre(self, inputs: Asked, parameters: TextGenerationParameters) -> list[Item]:
        ids = self._prompt_ids(inputs)
        if parameters.truncate:
            ids = ids[-parameters.truncate :]
        new = self._new_tokens(len(ids), parameters)
        stops = parameters.stop
        asked = (stops,) if isinstance(stops, str) else tuple(stops or ())
        prompt = Prompt(
            ids=ids,
            new=new,
            sampling=sampling_of(parameters, self._own_way(inputs), self.rules.beams),
            sequences=parameters.num_return_sequences,
            stops=(*asked, *self.rules.stops),
            seed=parameters.seed,
            rules=self.rules,
        )
        size = (len(ids) + new) * max(prompt.sequences, prompt.sampling.beams)
        held = size + len(ids)  # which are read apart
        if self._most_places is not None and held > self._most_places:
            raise InputTooLong(
                f"the prompt while it is read, and with {new} new tokens in each sequence, is {held:,} "
                f"tokens: there is memory for {self._most_places:,}",
                hint="ask for fewer sequences or fewer new tokens, or restart it when more memory is free; "
                "--memory bounds it too",
            )
        return [Item(prompt, size, self._key(prompt))]

    def _key(self, prompt: Prompt) -> Hashable:
        if prompt.sampling.beams > 1:
            key: Hashable = beams.key(prompt)
            return key
        if len(prompt.ids) + prompt.new > (self._longest_beside or sys.maxsize):
            return object()  # equal to nobody's
        return len(prompt.ids) if self._by_length else None

    def _own_way(self, inputs: Asked) -> Defaults:
        """A conversation is sampled where the model's authors say so, a text only when asked to."""
        if isinstance(inputs, Conversation):
            return self.defaults
        return replace(self.defaults, sampling=False)

    def _prompt_ids(self, inputs: Asked) -> list[int]:
        if isinstance(inputs, Conversation):
            return self.tokens.encode_bare(self._templated(inputs)).ids
        if len(inputs.text) > _MOST_CHARACTERS:
            raise InputTooLong(
                f"the prompt has {len(inputs.text)} characters, the limit is {_MOST_CHARACTERS}",
                hint="shorten the prompt",
            )
        ids = self.tokens.encode(inputs.text).ids
        if ids:
            return ids
        begin = self.tokens.tokenizer.bos_token_id
        if begin is None:
            raise InvalidRequest("text: it is empty, and the model has no token to begin with")
        return [begin]

    def _templated(self, conversation: Conversation) -> str:
        """The prompt that the model's chat template makes of a conversation.

        Raises:
            InvalidRequest: it has none, or the template refuses the conversation.
        """
        if not self.tokens.tokenizer.chat_template:
            raise InvalidRequest(
                "messages: this model has no chat template, so it knows no conversations",
                hint="use /v1/completions or /predict with a prompt, or deploy an instruct model",
            )
        messages = [{"role": one.role, "content": one.content} for one in conversation.messages]
        try:
            return templates.rendered(lambda: self._filled(messages))
        except Exception as error:  # templates are programs, and refuse in their own words
            raise InvalidRequest(
                f"messages: the model's chat template does not take them: {one_line(error)}",
                hint="most templates want user and assistant to take turns, system at the start",
            ) from error

    def _filled(self, messages: list[dict[str, str]]) -> str:
        prompt: str = self.tokens.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return prompt

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
            new = self.defaults.new_tokens(prompt)
            return new if window is None else min(new, window - prompt)
        new = min(asked)
        if parameters.max_new_tokens is None:
            new = min(new, self._room(prompt, parameters.num_return_sequences))
        if window is not None and prompt + new > window:
            named = "max_new_tokens" if new == parameters.max_new_tokens else "max_length"
            raise InputTooLong(
                f"{named}: prompt and new tokens are {prompt} + {new} = {prompt + new}, "
                f"the model's window is {window} tokens",
                hint=f"ask for at most {window - prompt} new tokens",
            )
        return new

    def _room(self, prompt: int, sequences: int) -> int:
        """New tokens of each sequence at most where a length is asked for and not so many of them, as by a
        chat that leaves its end to the model: what leaves others a place beside it."""
        places = self.batch.size if self._most_places is None else self._most_places
        fair = max(places // _BESIDE - prompt, _FAIR_TOKENS)
        if self._most_places is not None:  # beside the prompt, which is read apart
            fair = min(fair, (self._most_places - prompt) // sequences - prompt)
        beside = (self._longest_beside or sys.maxsize) - prompt
        return max(1, min(fair, beside) if beside >= _FAIR_TOKENS else fair)

    # Writing

    def forward(self, items: list[Item]) -> list[Any]:
        pad_id = self.tokens.pad_id or 0
        if items[0].data.sampling.beams > 1:
            return beams.write(self.model, self.rules, items, self.text, self.ends, pad_id)
        return fallback.write(self.model, items, self.text, self.ends, pad_id)

    def text(self, ids: Sequence[int]) -> str:
        """Decoded, without special tokens."""
        decoded: str = self.tokens.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

    # Answers

    def tokens_of(self, items: list[Item], raws: list[Any]) -> tuple[int, int]:
        read = sum(len(item.data.ids) for item in items)
        return read, sum(one.tokens for sequences in raws for one in sequences)

    def post(
        self, raws: list[Any], inputs: Asked, parameters: TextGenerationParameters
    ) -> list[GeneratedText]:
        sequences: list[Written] = raws[0]
        start = getattr(inputs, "text", "") if parameters.return_full_text else ""
        return [
            GeneratedText(start + one.text, self._details(one, parameters)) for one in sequences
        ]

    def _details(self, written: Written, parameters: TextGenerationParameters) -> Details | None:
        if not parameters.details:
            return None
        tokens = [self.token(piece) for piece in written.pieces]
        top = [self.top(piece.choice) for piece in written.pieces]
        return Details(
            finish_reason=written.finish,
            generated_tokens=written.tokens,
            input_length=written.prompt,
            seed=parameters.seed,
            tokens=tokens,
            top_tokens=top if parameters.top_n_tokens else None,
        )

    def token(self, piece: Piece) -> Token:
        choice = piece.choice
        special = choice.token in self._special
        return Token(choice.token, piece.text, choice.logprob or 0.0, special)

    def top(self, choice: Choice) -> list[Token]:
        """The likeliest tokens at one place, each decoded alone."""
        return [
            Token(one, self.tokens.tokenizer.decode([one]), logprob, one in self._special)
            for one, logprob in choice.top
        ]

    def streamed(
        self, pieces: Sequence[Piece], prompt: Prompt, parameters: TextGenerationParameters
    ) -> StreamedToken:
        """The event for the last of ``pieces``, which are all of one sequence so far."""
        piece = pieces[-1]
        ended = piece.finish is not None
        details = None
        if piece.finish:
            details = Details(
                finish_reason=piece.finish,
                generated_tokens=len(pieces),
                input_length=len(prompt.ids),
                seed=parameters.seed,
            )
        return StreamedToken(
            index=len(pieces),
            token=self.token(piece),
            top_tokens=self.top(piece.choice) if parameters.top_n_tokens else None,
            generated_text="".join(one.text for one in pieces) if ended else None,
            details=details,
        )


def _role(message: dict[str, Any]) -> str:
    """Templates know no developers: to them they are the system."""
    role: str = message["role"]
    return "system" if role == "developer" else role


def _plain(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    for part in content:
        if part["type"] != "text" or part.get("text") is None:
            raise InvalidRequest(
                f"messages: this model takes texts, not parts of type {part['type'][:50]!r}"
            )
    return "".join(part["text"] for part in content)
