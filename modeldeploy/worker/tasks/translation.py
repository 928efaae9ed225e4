"""One text in, the same in another language out."""

from __future__ import annotations

from typing import Any

from modeldeploy.errors import InvalidRequest, UnsupportedTask
from modeldeploy.schema.tasks.seq2seq import Translation, TranslationParameters, pair_of
from modeldeploy.schema.tasks.text import Text
from modeldeploy.worker.adapter import Source
from modeldeploy.worker.tasks.languages import languages_of
from modeldeploy.worker.tasks.planning import Plan
from modeldeploy.worker.tasks.seq2seq import Seq2Seq
from modeldeploy.worker.tasks.tokens import Encoded


class Translating(Seq2Seq[TranslationParameters]):
    def prepare(self, source: Source) -> None:
        super().prepare(source)
        self.languages = languages_of(self.tokens.tokenizer, self.model)
        self._pair: tuple[str | None, str | None] = (None, None)
        if (named := pair_of(source.task.name)) and self.languages.is_choice:
            self._pair = named
            try:
                self.languages.tell("", *named)
            except InvalidRequest as error:
                raise UnsupportedTask(f"{source.task.name}: {error.message}", error.hint) from error

    def read(self, text: str, parameters: TranslationParameters) -> tuple[Encoded, Plan]:
        source, target = self._pair
        told = self.languages.tell(
            text, parameters.src_lang or source, parameters.tgt_lang or target
        )
        encoded = self.encode(told.text, parameters)
        if told.source:
            old, new = told.source
            encoded.ids = [
                new if special and one == old else one
                for one, special in zip(encoded.ids, encoded.special, strict=True)
            ]
        plan = self.plan(parameters, told.task)
        return encoded, plan if told.first is None else plan.also(forced_bos_token_id=told.first)

    def post(self, raws: list[Any], inputs: Text, parameters: TranslationParameters) -> Translation:
        return Translation(self.text(raws[0], parameters))
