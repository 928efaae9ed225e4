"""Word valences from the MIT/PDDL lexicons of the packages vaderSentiment and textblob.

The packages are located, not imported: textblob would bring nltk along. AFINN is left out on
purpose, it is GPL.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections import defaultdict
from pathlib import Path

# Words whose everyday sense is a degree, a filler or something else than the lexicons say.
AMBIGUOUS = frozenset(Path(__file__).with_name("ambiguous.txt").read_text("utf-8").split())
SIGNIFICANT = 0.9  # on VADER's scale of -4 to 4
TEXTBLOB_SIGNIFICANT = 0.3  # on textblob's scale of -1 to 1
TEXTBLOB_SCALE = 3.0

SLOT_OF_TAG = {
    "JJ": "lexicon_adjective",
    "JJR": "comparative",
    "JJS": "superlative",
    "RB": "adverb",
    "NN": "feeling",
    "NNS": "feelings",
    "VB": "verb",
    "VBP": "verb",
    "VBZ": "verbs",
    "VBD": "past",
    "VBN": "past",
    "VBG": "gerund",
}
TAG_OF_ENDING = (
    (re.compile("ly$"), "RB"),
    (re.compile("ing$"), "VBG"),
    (re.compile("ed$"), "VBD"),
    (re.compile("(ful|less|ous|ive|able|ic|al|y|est|er)$"), "JJ"),
    (re.compile("[^s]s$"), "NNS"),
)
NEUTRAL_TAGS = frozenset({"NN", "NNS", "JJ", "VBD", "VBN", "VB", "VBG", "NNP"})
NEUTRAL_WORDS = 2500

WeightedWords = list[tuple[str, float]]


def package_folder(name: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"pip install -r training/requirements.txt: {name} is missing")
    return Path(spec.submodule_search_locations[0])


def read_vader() -> dict[str, float]:
    """VADER's words with their mean valence, -4 to 4."""
    valence = {}
    path = package_folder("vaderSentiment") / "vader_lexicon.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        word, mean, *_ = line.split("\t")
        if re.fullmatch(r"[a-z][a-z\-']+", word):
            valence[word] = float(mean)
    return valence


def read_textblob() -> dict[str, float]:
    """textblob's words, their polarity averaged over senses and brought to VADER's scale."""
    polarities: dict[str, list[float]] = defaultdict(list)
    text = (package_folder("textblob") / "en" / "en-sentiment.xml").read_text(encoding="utf-8")
    for word, polarity in re.findall(r'<word form="([a-z\-]+)".*?polarity="([-\d.]+)"', text):
        polarities[word].append(float(polarity))
    means = {word: sum(values) / len(values) for word, values in polarities.items()}
    return {
        word: mean * TEXTBLOB_SCALE
        for word, mean in means.items()
        if abs(mean) >= TEXTBLOB_SIGNIFICANT
    }


def read_tags() -> dict[str, str]:
    """The most usual Penn Treebank tag of each word, lower-case spellings first."""
    tags: dict[str, str] = {}
    text = (package_folder("textblob") / "en" / "en-lexicon.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        word, *rest = line.split()[:2] or [";;;"]
        if word == ";;;" or not rest:
            continue
        if word.islower() or word.lower() not in tags:
            tags[word.lower()] = rest[0]
    return tags


def read_frequencies() -> dict[str, int]:
    """How often each word stands in the text behind textblob's spelling list."""
    counts: dict[str, int] = defaultdict(int)
    text = (package_folder("textblob") / "en" / "en-spelling.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 2 and fields[1].isdigit():
            counts[fields[0].lower()] += int(fields[1])
    return counts


class Lexicon:
    """Valences, tags and frequencies of words, read once."""

    def __init__(self) -> None:
        merged = read_textblob() | read_vader()
        self.valence = {word: v for word, v in merged.items() if word not in AMBIGUOUS}
        self.tags = read_tags()
        self.frequency = read_frequencies()
        self.neutral = self._neutral_words()

    def _neutral_words(self) -> list[str]:
        by_frequency = sorted(self.frequency, key=lambda word: (-self.frequency[word], word))
        usual = (
            word
            for word in by_frequency
            if word.isalpha()
            and len(word) > 2
            and word not in self.valence
            and self.tags.get(word) in NEUTRAL_TAGS
        )
        return [word for word, _ in zip(usual, range(NEUTRAL_WORDS), strict=False)]

    def _tag(self, word: str) -> str:
        if word in self.tags:
            return self.tags[word]
        return next((tag for ending, tag in TAG_OF_ENDING if ending.search(word)), "NN")

    def _weight(self, word: str) -> float:
        usual = math.sqrt(self.frequency.get(word, 0)) * 0.3 + 1.5
        return usual * min(abs(self.valence[word]), 3.0)

    def slots(self) -> dict[tuple[str, int], WeightedWords]:
        """The words that fill each slot of the grammar, keyed by slot and sign, with weights."""
        slots: dict[tuple[str, int], WeightedWords] = defaultdict(list)
        for word, valence in self.valence.items():
            slot = SLOT_OF_TAG.get(self._tag(word))
            if slot is None or abs(valence) < SIGNIFICANT:
                continue
            entry = (word, self._weight(word))
            sign = 1 if valence > 0 else -1
            slots[slot, sign].append(entry)
            if slot in ("past", "gerund"):
                slots["participle", sign].append(entry)
        slots["plain_word", 0] = [(word, 1.0) for word in self.neutral]
        slots["plain_noun", 0] = [(w, 1.0) for w in self.neutral if self.tags[w] == "NN"]
        return dict(slots)
