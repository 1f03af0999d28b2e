"""`python -m benchmarks.batching`: what Voxtral's replies gain by sharing each pass, beside a pass for each of them.

Random weights in the real classes, far more of them than a processor's cache holds: what is said means nothing, what it costs
does. A table on stdout. Needs the extra `voxtral`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from statistics import median
from types import SimpleNamespace
from typing import Any, Final

from duologue.engines.voxtral_decoding import Decoder, Reply, Request

PROMPT: Final = 200
"""Tokens: instructions and a few turns."""

VOCABULARY: Final = 8_192
SPECIAL: Final = 1_000
"""The first tokens of the vocabulary, which are never said."""

WIDTH: Final = 768
LAYERS: Final = 12


class Words:
    """What the decoder asks of a tokenizer."""

    eos_id = 2
    num_special_tokens = SPECIAL

    def get_special_token(self, name: str) -> int:
        return sum(map(ord, name)) % SPECIAL


def model() -> Any:
    import torch
    from transformers import VoxtralConfig, VoxtralForConditionalGeneration

    torch.manual_seed(0)
    sound = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4}
    text = {
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": WIDTH // 64,
        "num_key_value_heads": WIDTH // 256,
        "head_dim": 64,
        "pad_token_id": 11,
    }
    config = VoxtralConfig(audio_token_id=24, audio_config=sound, text_config=text)
    return VoxtralForConditionalGeneration(config).eval()


def decoder(model: Any) -> Decoder:
    tokenizer = SimpleNamespace(tokenizer=SimpleNamespace(instruct_tokenizer=SimpleNamespace(tokenizer=Words())))
    processor = SimpleNamespace(feature_extractor=dict, audio_token_id=24, tokenizer=tokenizer)
    return Decoder(model, processor, conversations=1, top_p=1.0, seed=1)


def begun(decoder: Decoder, number: int, tokens: int) -> Reply:
    """A reply whose prompt has been read; each of another length, as in life."""
    ids = [SPECIAL + (number * 997 + place * 31) % (VOCABULARY - SPECIAL) for place in range(PROMPT + 9 * number)]
    return next(reply for reply in decoder.begin(Request(ids, max_tokens=tokens)) if reply is not None)


def tokens_a_second(decoder: Decoder, replies: int, tokens: int, *, shared: bool) -> float:
    going = [begun(decoder, number, tokens) for number in range(replies)]
    groups = [going] if shared else [[reply] for reply in going]
    said, began = 0, time.perf_counter()
    for _ in range(tokens - 1):
        said += sum(token is not None for group in groups for token in decoder.advance(group))
    return said / (time.perf_counter() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batching")
    parser.add_argument("--replies", type=int, nargs="+", default=[1, 2, 4, 8], help="at once")
    parser.add_argument("--tokens", type=int, default=40, help="of each")
    parser.add_argument("--times", type=int, default=3, help="of which the median is told; both ways take turns")
    asked = parser.parse_args(arguments)
    weights = model()
    speed = decoder(weights)
    parameters = sum(each.numel() for each in weights.parameters())
    print(
        f"{parameters / 1e6:.0f} million parameters; {asked.tokens} tokens a reply; tokens/s, median of {asked.times}"
    )
    print("replies  a pass each  one pass for all")
    for replies in asked.replies:
        figures = [
            [tokens_a_second(speed, replies, asked.tokens, shared=shared) for shared in (False, True)]
            for _ in range(asked.times)
        ]
        alone, together = (median(column) for column in zip(*figures, strict=True))
        print(f"{replies:7}  {alone:11.1f}  {together:16.1f}  x{together / alone:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
