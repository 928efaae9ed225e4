"""Tiny models that hear and speak, seeded: real architectures, real files, meaningless weights."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    BarkCoarseConfig,
    BarkConfig,
    BarkFineConfig,
    BarkModel,
    BarkSemanticConfig,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    EncodecConfig,
    GenerationConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    PreTrainedTokenizerFast,
    SpeechT5Config,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    VitsConfig,
    VitsModel,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForSequenceClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from tests.models.tiny import CORPUS, word_piece

RATE = 16_000
Samples = npt.NDArray[np.float32]


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> Samples:
    """Sound that is never the same twice."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(round(seconds * rate)) * 0.1).astype(np.float32)


def encoded(samples: Samples, kind: str = "WAV", rate: int = RATE, **more: Any) -> bytes:
    """A sound file; WAV keeps the samples as they are."""
    subtype = {"subtype": "FLOAT"} if kind == "WAV" and not more else more
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, **subtype)
    return file.getvalue()


def _wav2vec2(norm: str, **more: Any) -> Wav2Vec2Config:
    return Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 8),
        conv_stride=(8, 8, 5),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm=norm,
        conv_bias=norm == "layer",
        do_stable_layer_norm=norm == "layer",
        **more,
    )


def _wav2vec2_extractor(norm: str) -> Wav2Vec2FeatureExtractor:
    return Wav2Vec2FeatureExtractor(
        sampling_rate=RATE, do_normalize=True, return_attention_mask=norm == "layer"
    )


def ctc(folder: Path, norm: str = "layer") -> Path:
    """Letters by the moment; its outputs stand for 320 samples each."""
    torch.manual_seed(0)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({letter: at for at, letter in enumerate(letters)}))
    model = Wav2Vec2ForCTC(_wav2vec2(norm, vocab_size=len(letters)))
    torch.nn.init.normal_(model.lm_head.weight, std=1.0)  # else one letter is all it says
    model.eval().save_pretrained(folder)
    Wav2Vec2CTCTokenizer(str(vocabulary)).save_pretrained(folder)
    _wav2vec2_extractor(norm).save_pretrained(folder)
    return folder


def classifier(folder: Path, norm: str = "layer", labels: int = 3) -> Path:
    torch.manual_seed(0)
    model = Wav2Vec2ForSequenceClassification(
        _wav2vec2(norm, num_labels=labels, classifier_proj_size=16)
    )
    model.eval().save_pretrained(folder)
    _wav2vec2_extractor(norm).save_pretrained(folder)
    return folder


def spectrogram_classifier(folder: Path) -> Path:
    """An audio spectrogram transformer, which hears about a second."""
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_length=96,
        num_mel_bins=32,
        num_labels=4,
    )
    ASTForAudioClassification(config).eval().save_pretrained(folder)
    ASTFeatureExtractor(max_length=96, num_mel_bins=32).save_pretrained(folder)
    return folder


_SPECIAL = (
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|fr|>", "<|translate|>"),
    *("<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
)


def _whisper_tokenizer(folder: Path) -> Any:
    """Bytes and a few words, the special tokens behind them, then the timestamps."""
    from transformers import WhisperTokenizer

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    raw = json.loads(tokenizer.to_str())["model"]
    made = WhisperTokenizer(
        vocab=raw["vocab"],
        merges=[tuple(pair) for pair in raw["merges"]],
        additional_special_tokens=list(_SPECIAL),
        unk_token=_SPECIAL[0],
        bos_token=_SPECIAL[0],
        eos_token=_SPECIAL[0],
        pad_token=_SPECIAL[0],
    )
    made.add_tokens([f"<|{at * 0.02:.2f}|>" for at in range(1501)])
    made.save_pretrained(folder)
    return made


def whisper(folder: Path) -> Path:
    """Two languages, timestamps of segments and words; it hears 30 seconds at once."""
    torch.manual_seed(3)
    tokenizer = _whisper_tokenizer(folder)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in _SPECIAL}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=80,
        max_target_positions=48,
        init_std=0.5,  # enough that what it says depends on what it hears
        decoder_start_token_id=start,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():  # text is likelier than what stands around it
        model.model.decoder.embed_tokens.weight[end:] *= 0.4
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
        max_length=16,
        is_multilingual=True,
        lang_to_id={name: ids[name] for name in ("<|en|>", "<|fr|>")},
        task_to_id={name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        alignment_heads=[[0, 0]],
        prev_sot_token_id=ids["<|startofprev|>"],
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def clap(folder: Path) -> Path:
    """Compares a second of sound with texts."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    config = ClapConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "max_position_embeddings": 64,
            "pad_token_id": tokenizer.pad_token_id,
            "projection_dim": 16,
            "initializer_factor": 10.0,
        },
        audio_config={
            "hidden_size": 32,
            "patch_embeds_hidden_size": 16,
            "spec_size": 64,
            "num_mel_bins": 16,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "window_size": 4,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "num_hidden_layers": 2,
            "num_classes": 4,
            "enable_fusion": False,
            "aff_block_r": 2,
            "projection_dim": 16,
        },
        projection_dim=16,
    )
    ClapModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=RATE,
        hop_length=160,
        max_length_s=1,
        fft_window_size=400,
        frequency_max=8000,
        truncation="rand_trunc",
    ).save_pretrained(folder)
    return folder


def _letters() -> PreTrainedTokenizerFast:
    alphabet = ["<pad>", "<unk>", *" abcdefghijklmnopqrstuvwxyz,.!'"]
    tokenizer = Tokenizer(
        models.WordLevel({letter: at for at, letter in enumerate(alphabet)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")


def vits(folder: Path, speakers: int = 1) -> Path:
    """A voice of 16 kHz that speaks letters."""
    torch.manual_seed(0)
    tokenizer = _letters()
    config = VitsConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=9,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        duration_predictor_num_flows=2,
        duration_predictor_filter_channels=16,
        num_speakers=speakers,
        speaker_embedding_size=8 if speakers > 1 else 0,
        sampling_rate=RATE,
    )
    VitsModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def speecht5(folder: Path, *, vocoder: bool = True) -> Path:
    """A voice that needs a vocoder, which lies beside it unless told otherwise."""
    torch.manual_seed(0)
    tokenizer = _letters()
    config = SpeechT5Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=8,
        speech_decoder_prenet_units=8,
        speech_decoder_postnet_units=8,
        speech_decoder_postnet_layers=2,
        speaker_embedding_dim=4,
        max_text_positions=64,
        initializer_range=0.3,
        pad_token_id=0,
    )
    model = SpeechT5ForTextToSpeech(config).eval()
    torch.nn.init.constant_(model.speech_decoder_postnet.prob_out.bias, -3.0)  # it goes on
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if vocoder:
        hifi_gan(folder / "vocoder")
    return folder


def hifi_gan(folder: Path) -> Path:
    """Sound of spectrograms of 8 bins."""
    torch.manual_seed(0)
    config = SpeechT5HifiGanConfig(
        model_in_dim=8,
        upsample_initial_channel=8,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        initializer_range=0.3,
    )
    SpeechT5HifiGan(config).eval().save_pretrained(folder)
    return folder


def _codec(**more: Any) -> EncodecConfig:
    """Books of 32 codes, 8 samples each."""
    return EncodecConfig(
        sampling_rate=1600,
        upsampling_ratios=[4, 2],
        num_filters=4,
        num_residual_layers=1,
        num_lstm_layers=1,
        hidden_size=16,
        codebook_size=32,
        codebook_dim=16,
        target_bandwidths=[4.0],
        use_causal_conv=False,
        **more,
    )


def _filled(model: torch.nn.Module) -> None:
    """Codes that sound: a codec's books begin as zeros."""
    for name, buffer in model.named_buffers():
        if name.endswith("codebook.embed"):
            torch.nn.init.normal_(buffer)


def musicgen(folder: Path) -> Path:
    """Plays what a tiny T5 made of a text."""
    torch.manual_seed(0)
    tokenizer = word_piece()
    config = MusicgenConfig(
        text_encoder=T5Config(
            vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2
        ).to_dict(),
        audio_encoder=_codec().to_dict(),
        decoder=MusicgenDecoderConfig(
            vocab_size=32,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            ffn_dim=16,
            num_codebooks=2,
            max_position_embeddings=64,
            pad_token_id=32,
            bos_token_id=32,
        ).to_dict(),
    )
    model = MusicgenForConditionalGeneration(config).eval()
    _filled(model)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=32,
        pad_token_id=32,
        bos_token_id=32,
        do_sample=True,
        guidance_scale=3.0,
        max_length=40,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def bark(folder: Path) -> Path:
    """Its three stages with 40 semantic tokens and four books of 32 codes."""
    torch.manual_seed(0)
    tokenizer = _letters()
    small = {"block_size": 512, "num_layers": 1, "num_heads": 2, "hidden_size": 16}
    config = BarkConfig(
        semantic_config=BarkSemanticConfig(**small, input_vocab_size=96, output_vocab_size=48),
        coarse_acoustics_config=BarkCoarseConfig(
            **small, input_vocab_size=112, output_vocab_size=112
        ),
        fine_acoustics_config=BarkFineConfig(
            **small, input_vocab_size=40, output_vocab_size=40, n_codes_total=4
        ),
        codec_config=_codec(),
    )
    model = BarkModel(config).eval()
    _filled(model)
    generation = {
        "semantic_config": {
            "eos_token_id": 40,
            "semantic_pad_token": 40,
            "semantic_vocab_size": 40,
            "text_encoding_offset": 48,
            "text_pad_token": 90,
            "semantic_infer_token": 91,
            "max_new_tokens": 24,
            "do_sample": True,
        },
        "coarse_acoustics_config": {
            "coarse_semantic_pad_token": 104,
            "coarse_infer_token": 105,
            "max_coarse_input_length": 16,
            "max_coarse_history": 12,
            "sliding_window_len": 8,
            "do_sample": True,
        },
        "fine_acoustics_config": {
            "max_fine_history_length": 16,
            "max_fine_input_length": 32,
            "n_fine_codebooks": 4,
        },
        "sample_rate": 1600,
        "codebook_size": 32,
    }
    model.generation_config = GenerationConfig()
    model.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(generation))
    tokenizer.save_pretrained(folder)
    return folder
