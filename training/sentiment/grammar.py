"""Expands the signed grammar of `grammar/*.toml` into labelled sentences.

The language of those files is explained at the head of `grammar/structure.toml`.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import tomllib

from training.sentiment.lexicon import Lexicon

FOLDER = Path(__file__).parent / "grammar"
ANY = "any"
OPTIONAL_CHANCE = 0.35

POSITIVE, NEUTRAL, NEGATIVE = 1, 0, -1
SIGNS = {"positive": POSITIVE, "neutral": NEUTRAL, "negative": NEGATIVE}

SLOT = re.compile(r"\{(\??)(!?)(\w+)(?::(\w+))?\}")
ARTICLE = re.compile(r"\ba (?=[aeiou])")
SPACES = re.compile(r" +")
SPACE_BEFORE_STOP = re.compile(r" (?=[.,;!?])")
QUESTION = re.compile(r"(why|how (can|could|dare|hard)|what (is|were)|who|where|is|do|when) ")


@dataclass(frozen=True)
class Slot:
    """A place in a template where another rule is expanded."""

    rule: str
    flips: bool
    optional: bool
    domain: str | None


Template = tuple[str | Slot, ...]


@dataclass
class Alternatives:
    """The weighted ways to expand one rule."""

    templates: list[Template] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    cumulative: list[float] = field(default_factory=list)

    def add(self, template: Template, weight: float) -> None:
        """Append an alternative; what is added twice counts twice."""
        self.templates.append(template)
        self.weights.append(weight)

    def seal(self) -> None:
        """Prepare for `pick`."""
        self.cumulative = list(itertools.accumulate(self.weights))

    def pick(self, rng: random.Random) -> Template:
        """Draw one alternative by weight."""
        return rng.choices(self.templates, cum_weights=self.cumulative)[0]


def parse_template(text: str) -> Template:
    """Split a template into literal text and slots."""
    parts: list[str | Slot] = []
    end = 0
    for match in SLOT.finditer(text):
        parts.append(text[end : match.start()])
        optional, flips, rule, domain = match.groups()
        parts.append(Slot(rule, bool(flips), bool(optional), domain))
        end = match.end()
    parts.append(text[end:])
    return tuple(part for part in parts if part)


def parse_alternatives(text: str) -> Iterable[tuple[Template, float]]:
    """Read `a | b *3 | ~`, over one line or several."""
    for piece in re.split(r"[|\n]", text):
        words, _, weight = piece.partition(" *")
        if body := words.strip():
            yield parse_template("" if body == "~" else body), float(weight or 1)


class Grammar:
    """Labelled sentences, drawn with a seed."""

    def __init__(self, lexicon: Lexicon, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rules: dict[tuple[str, str, int], Alternatives] = {}
        self.domains: list[str] = []
        for path in sorted(FOLDER.glob("*.toml")):
            self._read(path)
        for (rule, sign), words in lexicon.slots().items():
            for word, weight in words:
                self._rule(rule, "", sign).add((word,), weight)
        for alternatives in self.rules.values():
            alternatives.seal()

    def _rule(self, rule: str, domain: str, sign: int) -> Alternatives:
        return self.rules.setdefault((rule, domain, sign), Alternatives())

    def _read(self, path: Path) -> None:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        is_domain = "noun" in tables.get("neutral", {})
        domain = path.stem if is_domain else ""
        if is_domain:
            self.domains.append(domain)
        for table, rules in tables.items():
            for rule, text in rules.items():
                target = self._rule(rule, domain, SIGNS[table])
                for template, weight in parse_alternatives(text):
                    target.add(template, weight)

    def _find(self, rule: str, domain: str, sign: int) -> Alternatives:
        for key in ((rule, domain, sign), (rule, domain, 0), (rule, "", sign), (rule, "", 0)):
            if key in self.rules:
                return self.rules[key]
        raise KeyError(f"no rule {rule!r} (domain {domain!r}, sign {sign})")

    def expand(self, rule: str, sign: int, domain: str) -> str:
        """Expand `rule` once; `sign` is POSITIVE or NEGATIVE."""
        words: list[str] = []
        for part in self._find(rule, domain, sign).pick(self.rng):
            if isinstance(part, str):
                words.append(part)
            elif not part.optional or self.rng.random() < OPTIONAL_CHANCE:
                words.append(self._fill(part, sign, domain))
        return "".join(words)

    def _fill(self, slot: Slot, sign: int, domain: str) -> str:
        inner = self.rng.choice(self.domains) if slot.domain == ANY else slot.domain or domain
        return self.expand(slot.rule, -sign if slot.flips else sign, inner)

    def sentence(self, sign: int) -> str:
        """One sentence whose overall sentiment is `sign`."""
        text = self.expand("sentence", sign, self.rng.choice(self.domains))
        text = SPACE_BEFORE_STOP.sub("", SPACES.sub(" ", text)).strip()
        text = ARTICLE.sub("an ", text)
        if QUESTION.match(text) and text[-1] in ".!":
            text = text[:-1] + "?"
        if self.rng.random() < 0.04:
            text = text.replace("'", "")
        return text

    def corpus(self, count: int) -> list[tuple[str, int]]:
        """`count` pairs of sentence and label, 1 for positive and 0 for negative, by turns."""
        return [(self.sentence(POSITIVE if i % 2 else NEGATIVE), i % 2) for i in range(count)]
