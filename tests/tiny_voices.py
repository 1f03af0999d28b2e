"""Voices of small random weights, with the real libraries' classes, as the folders that their real loaders read.

What such a voice says means nothing; how it is asked, what it gives, when it stops and what it leaves behind is the library's.
`TINY_VOICES` names the voices whose libraries must be there ("chatterbox,mms", or "required" for all): without them their
tests fail instead of being skipped. `tests/voices/run` makes the environments.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pytest

NEEDED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "chatterbox": ("chatterbox", "perth"),
        "chatterbox_turbo": ("chatterbox", "perth"),
        "dia": ("torch", "transformers"),
        "emotion2vec": ("torch", "funasr"),  # no voice, but as heavy
        "indic_parler": ("parler_tts",),
        "kokoro": ("onnx", "piper"),
        "mms": ("torch", "transformers"),
    }
)

REQUIRED: Final = frozenset(os.environ.get("TINY_VOICES", "").split(",")) - {""}

RANDOM: Final = frozenset({"chatterbox", "chatterbox_turbo", "dia", "indic_parler", "mms"})
"""Whose weights are never here but such as these. What such voices say may be silence, or go on for too long."""

SLOW: Final = frozenset({"chatterbox", "chatterbox_turbo", "indic_parler"})
"""Of these. They need a second for each text, most of it for parts whose size their libraries fix."""

LETTERS: Final[Mapping[str, range]] = MappingProxyType(
    {
        "en": range(ord("a"), ord("z") + 1),
        "hi": range(0x900, 0x97F),
        "es": range(ord("a"), ord("z") + 1),
        "ms": range(ord("a"), ord("z") + 1),
        "ta": range(0xB80, 0xBFF),
        "te": range(0xC00, 0xC7F),
        "mr": range(0x900, 0x97F),
    }
)


def absent(name: str) -> list[str]:
    """Packages of the voice's library."""
    return [package for package in NEEDED[name] if find_spec(package) is None]


def need(name: str, *, module: bool = True) -> None:
    """Skips the module (or one test) where the library is missing; fails where `TINY_VOICES` says that it must be there."""
    if not (missing := absent(name)):
        return
    told = f"{name} needs {', '.join(missing)}: tests/voices/run makes an environment with it"
    if REQUIRED & {name, "required"}:
        raise RuntimeError(told)
    pytest.skip(told, allow_module_level=module)


@contextmanager
def small(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Meanwhile the engine loads weights of this size with these settings. `name` is one of `RANDOM`."""
    with ExitStack() as meanwhile:
        if name.startswith("chatterbox"):
            meanwhile.enter_context(small_chatterbox())
            make, seconds = (make_turbo, 6.0) if name == "chatterbox_turbo" else (make_chatterbox, 1.5)
            ann = clip(folder / "ann.wav", seconds)
            yield {"model": str(make(folder / name)), "clips": {"ann": str(ann)}, "voice": "ann"}
        elif name == "indic_parler":
            meanwhile.enter_context(short("indic_parler"))
            yield {"model": str(make_parler(folder / name))}
        elif name == "dia":
            meanwhile.enter_context(short("dia"))
            model, codec = make_dia(folder)
            yield {"model": str(model), "decoder": str(codec), "licence": "Apache-2.0"}
        else:
            models = {language: str(make_mms(folder / language, language)) for language in LETTERS}
            yield {"models": models, "non_commercial": True}


@contextmanager
def short(name: str) -> Iterator[None]:
    """Meanwhile a text has some 40 frames and no more: random weights never end by themselves. `name`: dia or indic_parler."""
    engine = import_module(f"duologue.engines.{name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "TOKENS_A_CHAR", 1)
        patch.setattr(engine, "TOKENS_LEAST", 40)
        yield


# ── MMS ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_mms(folder: Path, language: str, **changes: Any) -> Path:
    """0.2 M parameters that read one script. `changes` are of the tokenizer's configuration."""
    import torch
    from transformers import VitsConfig, VitsModel, VitsTokenizer

    folder.mkdir(parents=True)
    letters = dict.fromkeys([*"_ '-", *map(chr, LETTERS[language]), "<unk>"])
    vocabulary = folder / "vocabulary.json"
    vocabulary.write_text(json.dumps({letter: place for place, letter in enumerate(letters)}), "utf-8")
    given = {"add_blank": True, "normalize": True, "phonemize": False, "is_uroman": False, **changes}
    tokenizer = VitsTokenizer(str(vocabulary), pad_token="_", unk_token="<unk>", language=language, **given)
    torch.manual_seed(0)
    model = VitsModel(
        VitsConfig(
            vocab_size=len(letters),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            ffn_dim=64,
            flow_size=32,
            spectrogram_bins=65,
            upsample_initial_channel=32,
            prior_encoder_num_wavenet_layers=2,
            posterior_encoder_num_wavenet_layers=2,
            prior_encoder_num_flows=2,
            depth_separable_num_layers=2,
            duration_predictor_flow_bins=4,
            duration_predictor_filter_channels=32,
        )
    )
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


# ── Dia ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_dia(folder: Path) -> tuple[Path, Path]:
    """A Dia of 1.4 M parameters, and a codec of 1.7 M."""
    import torch
    from transformers import (
        DacConfig,
        DacModel,
        DiaConfig,
        DiaDecoderConfig,
        DiaEncoderConfig,
        DiaFeatureExtractor,
        DiaForConditionalGeneration,
        DiaTokenizer,
    )

    torch.manual_seed(0)
    small: dict[str, Any] = {
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "head_dim": 16,
    }
    cross = {
        "cross_num_attention_heads": 4,
        "cross_head_dim": 16,
        "cross_num_key_value_heads": 4,
        "cross_hidden_size": 64,
    }
    config = DiaConfig(
        encoder_config=DiaEncoderConfig(num_key_value_heads=4, **small),
        decoder_config=DiaDecoderConfig(num_key_value_heads=2, **small, **cross),
    )
    model, codec = folder / "dia", folder / "dac"
    DiaForConditionalGeneration(config).save_pretrained(model)
    DiaTokenizer().save_pretrained(model)
    DiaFeatureExtractor(feature_size=1, sampling_rate=44_100, hop_length=512).save_pretrained(model)
    DacModel(
        DacConfig(
            encoder_hidden_size=16,
            downsampling_ratios=[2, 4, 8, 8],
            decoder_hidden_size=64,
            n_codebooks=9,
            codebook_size=1024,
            codebook_dim=8,
            sampling_rate=44_100,
            hidden_size=256,
        )
    ).save_pretrained(codec)
    return model, codec


# ── Chatterbox ────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def small_chatterbox() -> Iterator[None]:
    """Meanwhile its transformers and the blocks of its decoder are few, a text has 6 tokens of speech instead of up to 1,000,
    the decoder takes one step instead of ten, and what the engine loads says nothing that is no sound. Everything else is the
    library's own."""
    from chatterbox.models.s3gen import S3Gen, s3gen
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.llama_configs import LLAMA_CONFIGS

    from duologue.engines import chatterbox

    with pytest.MonkeyPatch.context() as patch:
        for name, changes in (
            ("Llama_520M", {"num_hidden_layers": 14, "intermediate_size": 64}),  # its hooks sit on layers 9, 12 and 13
            ("GPT2_medium", {"n_layer": 2, "n_positions": 1024, "n_ctx": 1024}),
        ):
            patch.setitem(LLAMA_CONFIGS, name, LLAMA_CONFIGS[name] | changes)
        patch.setattr(s3gen, "ConditionalDecoder", _with_fewer_blocks(s3gen.ConditionalDecoder))
        for owner, method, limit in (
            (T3, "inference", {"max_new_tokens": 6}),
            (T3, "inference_turbo", {"max_gen_len": 6}),
            (S3Gen, "inference", {"n_cfm_timesteps": 1}),
        ):
            patch.setattr(owner, method, _with(getattr(owner, method), limit))
        patch.setattr(chatterbox, "_open", _only_sounds(chatterbox._open))
        yield


def _with_fewer_blocks(decoder: Any) -> Any:
    return lambda **sizes: decoder(**(sizes | {"n_blocks": 1, "num_mid_blocks": 1}))


def _with(method: Any, limit: dict[str, Any]) -> Any:
    @wraps(method)
    def limited(self: Any, *given: Any, **named: Any) -> Any:
        return method(self, *given, **(named | limit))

    return limited


def _only_sounds(opened: Any) -> Any:
    """Random weights choose tokens that are no sound and have no place in the decoder's table."""

    def mask(module: Any, given: Any, logits: Any) -> Any:
        logits = logits.clone()
        logits[..., 6561] = logits[..., 6563:] = -1e9
        return logits

    def masked(*given: Any, **named: Any) -> Any:
        model, languages = opened(*given, **named)
        model.t3.speech_head.register_forward_hook(mask)
        return model, languages

    return masked


def make_chatterbox(folder: Path) -> Path:
    """The multilingual one, within `small_chatterbox`; without a voice of its own."""
    import torch
    from chatterbox.models.s3gen import S3Gen
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.modules.t3_config import T3Config
    from chatterbox.models.voice_encoder import VoiceEncoder
    from chatterbox.mtl_tts import SUPPORTED_LANGUAGES
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(VoiceEncoder().state_dict(), folder / "ve.pt")
    torch.save(S3Gen().state_dict(), folder / "s3gen.pt")
    save_file(_apart(T3(T3Config.multilingual())), folder / "t3_mtl23ls_v2.safetensors")
    _letters(folder / "grapheme_mtl_merged_expanded_v1.json", tuple(SUPPORTED_LANGUAGES))
    return folder


def make_turbo(folder: Path) -> Path:
    """Within `small_chatterbox`."""
    import torch
    from chatterbox.models.s3gen import S3Gen
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.modules.t3_config import T3Config
    from chatterbox.models.voice_encoder import VoiceEncoder
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    end = "<|endoftext|>"
    vocabulary = {letter: place for place, letter in enumerate([end, *map(chr, range(32, 127))])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=end))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, pad_token=end, unk_token=end)
    fast.save_pretrained(folder)
    config = T3Config(text_tokens_dict_size=50276)
    config.llama_config_name = "GPT2_medium"
    config.speech_tokens_dict_size = 6563
    config.input_pos_emb = None
    config.speech_cond_prompt_len = 375
    config.use_perceiver_resampler = False
    config.emotion_adv = False
    save_file(_apart(VoiceEncoder()), folder / "ve.safetensors")
    save_file(_apart(T3(config)), folder / "t3_turbo_v1.safetensors")
    save_file(_apart(S3Gen(meanflow=True)), folder / "s3gen_meanflow.safetensors")
    return folder


def _apart(model: Any) -> dict[str, Any]:
    """Weights that no two names share: what safetensors takes."""
    return {name: weights.clone().contiguous() for name, weights in model.state_dict().items()}


def _letters(path: Path, languages: tuple[str, ...]) -> None:
    from tokenizers import AddedToken, Tokenizer, models

    marks = [
        "[STOP]",
        "[UNK]",
        "[SPACE]",
        "[START]",
        "[PAD]",
        "[SEP]",
        "[CLS]",
        "[MASK]",
        *(f"[{one}]" for one in languages),
    ]
    vocabulary = {"[STOP]": 0, "[UNK]": 1, "[SPACE]": 2, "[START]": 255}  # the places are the library's
    rest = [*map(chr, [*range(33, 127), *range(0xA1, 0x180), *range(0x900, 0x980)]), *marks]
    free = (place for place in range(3, 2_000) if place != 255)
    for letter in rest:
        if letter not in vocabulary:
            vocabulary[letter] = next(free)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    tokenizer.save(str(path))


def clip(path: Path, seconds: float, loud: float = 0.1) -> Path:
    """A recording to speak like: a tone will do, for weights that hear nothing."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    at = np.arange(round(24_000 * seconds)) / 24_000
    soundfile.write(path, (loud * np.sin(2 * np.pi * 200 * at)).astype(np.float32), 24_000)
    return path


# ── Indic Parler ──────────────────────────────────────────────────────────────────────────────────────────────────


def make_parler(folder: Path) -> Path:
    """A small model with the codec in full size (77 M), and a tokenizer of bytes each for texts and descriptions."""
    import torch
    from parler_tts import ParlerTTSConfig, ParlerTTSDecoderConfig, ParlerTTSForConditionalGeneration
    from parler_tts.dac_wrapper import DACConfig
    from transformers import ByT5Tokenizer, T5Config

    torch.manual_seed(0)
    codec = DACConfig(
        num_codebooks=9, codebook_size=1024, latent_dim=1024, frame_rate=86, model_bitrate=8, sampling_rate=44_100
    )
    encoder = T5Config(
        vocab_size=400, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, is_encoder_decoder=False
    )
    decoder = ParlerTTSDecoderConfig(
        vocab_size=1026,
        num_hidden_layers=2,
        ffn_dim=64,
        num_attention_heads=2,
        hidden_size=32,
        num_codebooks=9,
        max_position_embeddings=2048,
        rope_embeddings=True,
        pad_token_id=1024,
        bos_token_id=1025,
        eos_token_id=1024,
    )
    config = ParlerTTSConfig.from_sub_models_config(
        encoder, codec, decoder, vocab_size=400, decoder_start_token_id=1025, pad_token_id=1024
    )
    model = ParlerTTSForConditionalGeneration(config)
    for name, place in (("decoder_start", 1025), ("pad", 1024), ("bos", 1025), ("eos", 1024)):
        setattr(model.generation_config, f"{name}_token_id", place)
    model.save_pretrained(folder)
    ByT5Tokenizer().save_pretrained(folder)
    ByT5Tokenizer().save_pretrained(folder / "description_tokenizer")
    return folder


# ── Kokoro ────────────────────────────────────────────────────────────────────────────────────────────────────────

IPA: Final = ';:,.!?—…"() AIOQSTWYᵊabcdefhijklmnopqrstuvwxyzɑɐɒæβɔɕçɖðʤəɚɛɜɟɡɥɨɪʝɯŋɳɲɴøθœɹɾɻʁɽʂʃʈʧʊʌɣɤχʎʒʔˈˌːʰʲᵻ'

FRAME: Final = 1_200
"""Samples a phoneme at speed 1."""


def make_kokoro(folder: Path, tokens: str = "tokens") -> Path:
    """Kokoro's graph from without: a hum for each phoneme, at a pitch that its number and the style set."""
    import onnx
    from onnx import TensorProto, helper

    folder.mkdir(parents=True)
    (folder / "voices").mkdir()
    hum = (0.2 * np.sin(2 * np.pi * 150 * np.arange(2 * FRAME) / 24_000)).astype(np.float32).reshape(1, 2 * FRAME)
    kept: dict[str, Any] = {
        "hum": hum,
        "frame": np.array([FRAME], np.float32),
        "column": np.array([-1, 1], np.int64),
        "flat": np.array([-1], np.int64),
        "start": np.array([0], np.int64),
        "axis": np.array([1], np.int64),
        "loud": np.array([0.002], np.float32),
    }
    nodes = [
        helper.make_node("Reshape", [tokens, "column"], ["rows"]),
        helper.make_node("Cast", ["rows"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "loud"], ["levels"]),
        helper.make_node("ReduceMean", ["style"], ["colour"], keepdims=1),
        helper.make_node("Add", ["levels", "colour"], ["coloured"]),
        helper.make_node("Div", ["frame", "speed"], ["length"]),
        helper.make_node("Cast", ["length"], ["stop"], to=TensorProto.INT64),
        helper.make_node("Slice", ["hum", "start", "stop", "axis"], ["wave"]),
        helper.make_node("MatMul", ["coloured", "wave"], ["sound"]),
        helper.make_node("Reshape", ["sound", "flat"], ["audio"]),
    ]
    graph = helper.make_graph(
        nodes,
        "kokoro",
        [
            helper.make_tensor_value_info(tokens, TensorProto.INT64, [1, None]),
            helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
            helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, [None])],
        [onnx.numpy_helper.from_array(value, name) for name, value in kept.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, folder / "kokoro.onnx")
    (folder / "vocab.json").write_text(json.dumps({"vocab": {p: i + 1 for i, p in enumerate(IPA)}}), "utf-8")
    for place, name in enumerate(("af_heart", "am_michael", "ef_dora", "hf_alpha")):
        np.full((510, 1, 256), 0.4 + 0.1 * place, np.float32).tofile(folder / "voices" / f"{name}.bin")
    return folder
