"""The tokenizer: whole words, plus the suffixes that compose with a word of the same sign."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from training.sentiment.lexicon import SIGNIFICANT, Lexicon

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, _ = range(len(SPECIALS))
# fmt: off
SUFFIXES = (
    "s", "es", "d", "ed", "ing", "ly", "er", "ers",
    "r", "rs", "ness", "nesses", "est", "st", "ment", "y",
)
# fmt: on
VOCABULARY_SIZE = 7800
MODEL_MAX_LENGTH = 128
PIECE = re.compile(r"[a-z]+|[0-9]+|[^\sa-z0-9]")
LEXICON_BONUS = 5  # a word with a valence is worth this many sightings
INDIFFERENT = 0.5


def composes(word: str, words: set[str], lexicon: Lexicon) -> bool:
    """Whether `word` is a known stem plus a suffix, and the stem has the same sign."""
    if len(word) < 5:
        return False
    for end in range(len(word) - 1, 2, -1):
        stem, suffix = word[:end], word[end:]
        if stem in words:
            whole, part = lexicon.valence.get(word, 0.0), lexicon.valence.get(stem, 0.0)
            alike = whole * part > 0 or max(abs(whole), abs(part)) < INDIFFERENT
            return suffix in SUFFIXES and alike
    return False


def choose_words(texts: Iterable[str], lexicon: Lexicon, count: int) -> list[str]:
    """The `count` most useful whole words of the corpus and the lexicons."""
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(PIECE.findall(text.lower()))
    strong = {w for w, v in lexicon.valence.items() if w.isalpha() and abs(v) >= SIGNIFICANT}
    words = set(seen) | strong | set(lexicon.neutral)

    def usefulness(word: str) -> float:
        bonus = LEXICON_BONUS if word in lexicon.valence else 0
        return seen[word] + bonus + 0.001 * lexicon.frequency.get(word, 0)

    kept = [word for word in words if not composes(word, words, lexicon)]
    return sorted(kept, key=lambda word: (-usefulness(word), word))[:count]


def build_tokenizer(texts: Iterable[str], lexicon: Lexicon) -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer with BERT's special tokens."""
    pieces = [*SPECIALS, *(f"##{suffix}" for suffix in SUFFIXES)]
    pieces += choose_words(texts, lexicon, VOCABULARY_SIZE - len(pieces))
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=40)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=MODEL_MAX_LENGTH,
        model_input_names=["input_ids", "attention_mask"],
    )
