"""Voxtral models of under a million random weights, with the real classes, configuration and tokenizer, as folders.

The tokenizer is the real one's: tekken as mistral-common ships it, of which the first 3,096 entries are kept. What its file
lacks (the names of special tokens, the audio block) is added here as Voxtral's own has it. What such a model says means
nothing; what it is asked, when it answers and how it stops is what the real one does.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

NEEDED: Final = ("torch", "transformers", "mistral_common", "soundfile")
REQUIRED: Final = os.environ.get("TORCH_TESTS") == "required"

VOCABULARY: Final = 3_096
SPECIAL: Final = {
    0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 5: "[AVAILABLE_TOOLS]", 6: "[/AVAILABLE_TOOLS]",
    7: "[TOOL_RESULTS]", 8: "[/TOOL_RESULTS]", 9: "[TOOL_CALLS]", 10: "[IMG]", 11: "<pad>", 12: "[IMG_BREAK]",
    13: "[IMG_END]", 14: "[PREFIX]", 15: "[MIDDLE]", 16: "[SUFFIX]", 17: "[SYSTEM_PROMPT]", 18: "[/SYSTEM_PROMPT]",
    19: "[TOOL_CONTENT]", 24: "[AUDIO]", 25: "[BEGIN_AUDIO]", 32: "[STREAMING_PAD]", 33: "[STREAMING_WORD]",
    34: "[TRANSCRIBE]",
}  # fmt: skip

LOUD: Final = 4.0
"""Factor on fresh weights, whose logits would be so flat that one token were said over and over, whatever is heard."""

TEXT: Final = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "pad_token_id": 11,
}


def missing() -> str:
    """Why Voxtral cannot run here, or "". Raises where TORCH_TESTS=required says that it must."""
    absent = [name for name in NEEDED if find_spec(name) is None]
    told = f"Voxtral needs {', '.join(absent)}: pip install 'duologue[voxtral]'" if absent else ""
    if told and REQUIRED:
        raise RuntimeError(told)
    return told


def need_torch() -> None:
    """Skips the module where it cannot run."""
    if told := missing():
        pytest.skip(told, allow_module_level=True)


def make_chat(folder: Path) -> Path:
    """A Voxtral-Mini that hears and answers."""
    import torch
    from transformers import VoxtralConfig, VoxtralForConditionalGeneration, VoxtralProcessor, WhisperFeatureExtractor

    tokenizer = _tokenizer(folder, {"chunk_length_s": 30.0})
    text = {"model_type": "llama", "vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, **TEXT}
    sound = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    config = VoxtralConfig(audio_token_id=24, audio_config=sound, text_config=text)
    return _save(
        folder,
        VoxtralForConditionalGeneration(config),
        VoxtralProcessor(WhisperFeatureExtractor(feature_size=128, sampling_rate=16_000), tokenizer),
    )


def make_realtime(folder: Path, layers: int = 2) -> Path:
    """A Voxtral-Realtime that writes down what it hears."""
    import torch
    from transformers import (
        VoxtralRealtimeConfig,
        VoxtralRealtimeFeatureExtractor,
        VoxtralRealtimeForConditionalGeneration,
        VoxtralRealtimeProcessor,
    )

    streaming = {
        "transcription_format": "streaming",
        "transcription_delay_ms": 480.0,
        "streaming_look_ahead_ms": 2.5,
        "streaming_look_back_ms": 52.5,
        "streaming_n_left_pad_tokens": 32,
    }
    tokenizer = _tokenizer(folder, streaming)
    sound = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "head_dim": 16,
    }
    torch.manual_seed(0)
    config = VoxtralRealtimeConfig(
        audio_config=sound,
        text_config={"vocab_size": len(tokenizer), "sliding_window": 512, **TEXT, "num_hidden_layers": layers},
    )
    return _save(
        folder,
        VoxtralRealtimeForConditionalGeneration(config),
        VoxtralRealtimeProcessor(VoxtralRealtimeFeatureExtractor(), tokenizer),
    )


def _save(folder: Path, model: Any, processor: Any) -> Path:
    for weights in model.parameters():
        if weights.dim() > 1:
            weights.data *= LOUD
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _tokenizer(folder: Path, audio: dict[str, Any]) -> Any:
    import mistral_common
    from transformers.tokenization_mistral_common import MistralCommonBackend

    tekken = json.loads((Path(mistral_common.__file__).parent / "data" / "tekken_240911.json").read_text("utf-8"))
    tekken.pop("image", None)
    tekken["vocab"] = tekken["vocab"][:VOCABULARY]
    tekken["config"] |= {
        "version": "v7",
        "default_vocab_size": VOCABULARY + 1_000,
        "num_vocab_tokens": VOCABULARY,
    }
    tekken["special_tokens"] = [
        {"rank": rank, "token_str": SPECIAL.get(rank, f"<SPECIAL_{rank}>"), "is_control": True} for rank in range(1_000)
    ]
    encoding = {"num_mel_bins": 128, "hop_length": 160, "window_size": 400}
    tekken["audio"] = {"sampling_rate": 16_000, "frame_rate": 12.5, "audio_encoding_config": encoding, **audio}
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "tekken.json").write_text(json.dumps(tekken, ensure_ascii=False), "utf-8")
    return MistralCommonBackend(tokenizer_path=str(source / "tekken.json"))
