"""The real libraries of two voices that exclude each other, with small random weights: no sense in what they say, but all of
their code runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from duologue.engines import About, Loading, Sound, Style, Word


class RealVoice:
    def __init__(self, name: str, rate: int, loading: Loading, say: Callable[[str], Any]) -> None:
        licence = f"transformers {version('transformers')}, numpy {np.__version__}"  # for the test to see
        self.about = About(name, licence, voices=frozenset({name}), sample_rate=rate)
        self._lane = loading.lane
        self._say = say

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for piece in text:
            samples = np.asarray(await self._lane.run(self._say, piece), np.float32).reshape(-1)
            yield Sound(samples, self.about.sample_rate, (Word(piece, len(samples)),))
            await asyncio.sleep(0)


def load_chatterbox(loading: Loading) -> RealVoice:
    """Ten sound tokens and one step of its decoder a piece; the tokens that random weights should not give are masked."""
    import soundfile
    import torch
    from chatterbox.models.s3gen import S3Gen
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.llama_configs import LLAMA_CONFIGS
    from chatterbox.models.t3.modules.t3_config import T3Config
    from chatterbox.models.tokenizers import MTLTokenizer
    from chatterbox.models.voice_encoder import VoiceEncoder
    from chatterbox.mtl_tts import SUPPORTED_LANGUAGES, ChatterboxMultilingualTTS
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
    torch.manual_seed(0)
    folder = Path(loading.settings["folder"])
    LLAMA_CONFIGS["Llama_520M"].update(num_hidden_layers=14, intermediate_size=64)
    tokenizer = folder / "grapheme_mtl_merged_expanded_v1.json"
    _write_tokenizer(tokenizer, SUPPORTED_LANGUAGES)
    clip = folder / "clip.wav"
    soundfile.write(clip, (0.1 * np.sin(np.arange(24_000) / 19)).astype(np.float32), 24_000)
    parts = (T3(T3Config.multilingual()).eval(), S3Gen().eval(), VoiceEncoder().eval())
    model = ChatterboxMultilingualTTS(*parts, MTLTokenizer(str(tokenizer)), "cpu")
    infer, decode = T3.inference, S3Gen.inference
    T3.inference = lambda self, **given: infer(self, **given | {"max_new_tokens": 10})
    S3Gen.inference = lambda self, *given, **more: decode(self, *given, **more | {"n_cfm_timesteps": 1})
    model.t3.speech_head.register_forward_hook(_masked)
    model.prepare_conditionals(str(clip))
    model.generate("Hello.", language_id="en")  # the watermark's first time takes seconds
    return RealVoice("chatterbox", 24_000, loading, lambda text: model.generate(text, language_id="en").numpy())


def _masked(module: Any, given: Any, logits: Any) -> Any:
    logits = logits.clone()
    logits[..., 6561] = -1e9
    logits[..., 6563:] = -1e9
    return logits


def _write_tokenizer(path: Path, languages: Any) -> None:
    from tokenizers import AddedToken, Tokenizer, models

    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", *(f"[{language}]" for language in languages)]
    vocabulary = {"[STOP]": 0, "[UNK]": 1, "[SPACE]": 2, "[START]": 255}
    for character in map(chr, range(33, 127)):
        vocabulary[character] = len(vocabulary)
    for name in special:
        vocabulary.setdefault(name, 256 + len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    tokenizer.save(str(path))


def load_parler(loading: Loading) -> RealVoice:
    """A codec of full size, all else tiny; 40 frames a piece."""
    import torch
    from parler_tts import (
        ParlerTTSConfig,
        ParlerTTSDecoderConfig,
        ParlerTTSForConditionalGeneration,
    )
    from parler_tts.dac_wrapper import DACConfig
    from transformers import T5Config

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"num_codebooks": 9, "latent_dim": 1024, "frame_rate": 86, "sampling_rate": 44_100}
    codec = DACConfig(codebook_size=1024, model_bitrate=8, **sizes)
    encoder = T5Config(
        vocab_size=300, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, is_encoder_decoder=False
    )
    decoder = ParlerTTSDecoderConfig(
        vocab_size=1026, num_hidden_layers=2, ffn_dim=64, num_attention_heads=2, hidden_size=32, num_codebooks=9,
        max_position_embeddings=2048, rope_embeddings=True, pad_token_id=1024, bos_token_id=1025, eos_token_id=1024,
    )  # fmt: skip
    config = ParlerTTSConfig.from_sub_models_config(
        encoder, codec, decoder, vocab_size=300, decoder_start_token_id=1025, pad_token_id=1024
    )
    model = ParlerTTSForConditionalGeneration(config).eval()
    marks = {"decoder_start_token_id": 1025, "pad_token_id": 1024, "bos_token_id": 1025, "eos_token_id": 1024}
    model.generation_config.update(**marks)

    def say(text: str) -> Any:
        ids = torch.tensor([[byte + 3 for byte in text.encode()][:200]])
        with torch.inference_mode():
            return model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), prompt_input_ids=ids,
                prompt_attention_mask=torch.ones_like(ids), do_sample=True, min_new_tokens=30, max_new_tokens=40,
            ).numpy()  # fmt: skip

    say("Hello.")
    return RealVoice("parler", 44_100, loading, say)
