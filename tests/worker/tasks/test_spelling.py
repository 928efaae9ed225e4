"""A token's own bytes, by the tokenizers that hide them when they decode."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from modeldeploy.worker.tasks.spelling import Speller
from tests.models import tiny

FLAMINGO = "\U0001f9a9"


def fast(pieces: list[str], decoder: decoders.Decoder) -> PreTrainedTokenizerFast:
    vocabulary = {piece: at for at, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=pieces[0]))
    tokenizer.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=pieces[0])


def test_byte_level_tokens_within_a_character() -> None:
    tokenizer = tiny.byte_level()
    speller = Speller(tokenizer)
    text = f"Once {FLAMINGO} \u00e9 upon\n\x00"
    ids = tokenizer(text).input_ids
    spelled = [speller.spell(one) for one in ids]
    assert b"".join(spelled) == text.encode()
    assert b"\xf0" in spelled
    assert speller.spell(0) == b"<|endoftext|>"
    assert [speller.is_special(one) for one in (0, ids[0])] == [True, False]
    assert speller.spell(10_000) == b""


def test_sentencepiece_tokens_with_byte_fallback() -> None:
    llama = [
        decoders.Replace("\u2581", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
    tokenizer = fast(["</s>", "\u2581France", "<0xF0>", "<0x9F>", "s"], decoders.Sequence(llama))
    speller = Speller(tokenizer)
    assert [speller.spell(at) for at in range(1, 5)] == [b" France", b"\xf0", b"\x9f", b"s"]


def test_word_pieces_and_whole_pieces() -> None:
    speller = Speller(fast(["[SEP]", "word", "##ing", "<0xF0>"], decoders.WordPiece()))
    assert [speller.spell(at) for at in range(1, 4)] == [b" word", b"ing", b" <0xF0>"]
    bare = Speller(fast(["[SEP]", "word"], decoders.Metaspace()))
    assert bare.spell(1) == b"word"


def test_a_tokenizer_without_a_decoder_spells_what_it_can() -> None:
    tokenizer = tiny.word_piece()
    speller = Speller(tokenizer)
    assert speller.spell(tokenizer.convert_tokens_to_ids("a")) == b"a"
    assert speller.spell(len(tokenizer)) == b""
