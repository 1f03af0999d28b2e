"""Voxtral's arithmetic: what a prompt is in tokens, how they are read, and how the next one is chosen.

Everything here blocks and belongs to one thread. A reply is a generator of small steps (the sound, a portion of the prompt, a
token), so that whoever drives it decides whose step is next and can stop after any of them: `generate` of transformers gives
neither. What the steps give is checked against it in the tests.

    prompt      <s>[INST]instructions[/INST]…</s>[INST]…[BEGIN_AUDIO][AUDIO]×375 per 30 s[/INST]
    transcript  <s>[INST][BEGIN_AUDIO][AUDIO]×375 per 30 s[/INST][TRANSCRIBE]
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any, Final

import numpy as np
import torch
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from duologue.audio import INPUT_RATE, Audio
from duologue.engines.voxtral_prompt import ChatMessage

CHUNK_SAMPLES: Final = 30 * INPUT_RATE
"""The encoder hears whole 30 s; what is missing is silence, at full cost."""

CHUNK_TOKENS: Final = 375
CHUNK_FRAMES: Final = 3_000
"""Of the log mel spectrogram, 10 ms each."""

READ: Final = 256
"""Tokens of a prompt read in one step: on a GPU some 20 ms, after which others have their turn or a cancel is seen."""

NOT_SHARED: Final = -1
"""Stands for an [AUDIO] token in what a cache holds: the same tokens of another turn are other sound."""


@dataclass
class Request:
    """`conversation` names the cache that is kept; "" keeps none. `max_tokens` 0 only reads the prompt.

    `live` is set to False by whoever drives it, once no further step will be asked for.
    """

    ids: list[int]
    audio: Audio | None = None
    conversation: str = ""
    max_tokens: int = 0
    temperature: float = 0.0
    calls: bool = False
    """The model may call functions."""
    live: bool = True


@dataclass
class Memory:
    """What the model has read of a conversation: `ids`, and its cache of just as many places."""

    ids: list[int] = field(default_factory=list)
    cache: Any = field(default_factory=DynamicCache)
    reader: Request | None = None

    @property
    def sound(self) -> bool:
        """False while somebody reads into it, or after a read that broke off half way."""
        return (self.reader is None or not self.reader.live) and self.cache.get_seq_length() == len(self.ids)


class Decoder:
    """`conversations` keep their cache; beyond it that of the one silent longest goes."""

    def __init__(self, model: Any, processor: Any, *, conversations: int, top_p: float, seed: int) -> None:
        self._model = model
        self._processor = processor
        self._hear = partial(
            processor.feature_extractor, sampling_rate=INPUT_RATE, return_tensors="pt", padding=True, truncation=False
        )
        self._words = processor.tokenizer.tokenizer.instruct_tokenizer.tokenizer
        self._audio: int = processor.audio_token_id
        self._control = {
            name: self._words.get_special_token(name)
            for name in ("<s>", "[INST]", "[/INST]", "[BEGIN_AUDIO]", "[TRANSCRIBE]", "[TOOL_CALLS]")
        }
        self._end = self._words.eos_id
        self._cache_name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
        self._top_p = top_p
        self._seed = seed
        self._memories: OrderedDict[str, Memory] = OrderedDict()
        self._conversations = conversations

    # ── Tokens ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def calls_token(self) -> int:
        return int(self._control["[TOOL_CALLS]"])

    def prompt(
        self, messages: Sequence[ChatMessage], tools: Sequence[Any] = (), audio: Audio | None = None
    ) -> list[int]:
        """`audio` belongs to the last message, which is the user's, behind its text."""
        ids: list[int] = self._processor.tokenizer.apply_chat_template(
            list(messages), tools=list(tools) or None, tokenize=True, return_dict=False
        )
        return ids if audio is None else [*ids[:-1], *self._sound_ids(audio), ids[-1]]

    def transcription(self, audio: Audio, language: str = "") -> list[int]:
        control = self._control
        asked = self._words.encode(f"lang:{language}", bos=False, eos=False) if language else []
        head = [control["<s>"], control["[INST]"], *self._sound_ids(audio), control["[/INST]"]]
        return [*head, *asked, control["[TRANSCRIBE]"]]

    def bytes_of(self, token: int) -> bytes:
        """UTF-8, which one token may begin and the next one end; nothing for a control token."""
        piece: bytes = self._words.id_to_byte_piece(token)
        return piece

    def _sound_ids(self, audio: Audio) -> list[int]:
        chunks = max(1, -(-len(audio) // CHUNK_SAMPLES))
        return [self._control["[BEGIN_AUDIO]"], *[self._audio] * (chunks * CHUNK_TOKENS)]

    # ── Steps ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def steps(self, request: Request) -> Iterator[int | None]:
        """None for each step of reading, then token by token, without the one that ends the reply."""
        memory = self._recall(request)
        inputs = self._embed(request, len(memory.ids))
        yield None
        logits = None
        for start in range(0, inputs.shape[1], READ):
            portion = inputs[:, start : start + READ]
            logits = self._read(memory, portion, request.ids[len(memory.ids) :][: portion.shape[1]])
            yield None
        choose = self._chooser(request)
        for left in reversed(range(request.max_tokens)):
            token = choose(logits)
            if token == self._end:
                return
            yield token
            if left:
                logits = self._read(memory, self._look_up([token]), [token])

    def forget(self, conversation: str) -> None:
        """From any thread."""
        self._memories.pop(conversation, None)

    def forget_all(self) -> None:
        self._memories.clear()

    def _recall(self, request: Request) -> Memory:
        """The conversation's memory, cut to what the prompt begins with; at least one token is left to read."""
        memory = self._memories.pop(request.conversation, None)
        if memory is None or not memory.sound:
            memory = Memory()
        memory.reader = request
        same = takewhile(lambda pair: pair[0] == pair[1], zip(memory.ids, request.ids[:-1], strict=False))
        self._cut(memory, sum(1 for _ in same))
        if request.conversation:
            self._memories[request.conversation] = memory
            while len(self._memories) > self._conversations:
                self._memories.popitem(last=False)
        return memory

    def _cut(self, memory: Memory, length: int) -> None:
        if length < len(memory.ids):
            with torch.inference_mode():
                memory.cache.crop(
                    length - len(memory.ids)
                )  # transformers takes how many to remove, as a negative number
            del memory.ids[length:]

    def _embed(self, request: Request, start: int) -> Any:
        """The prompt from `start` on: (1, tokens, hidden)."""
        inputs = self._look_up(request.ids[start:])
        if request.audio is not None:
            places = torch.tensor(request.ids[start:], device=inputs.device) == self._audio
            with torch.inference_mode():
                inputs[0, places] = self._sound(request.audio).to(inputs)
        return inputs

    def _look_up(self, ids: Sequence[int]) -> Any:
        with torch.inference_mode():
            return self._model.get_input_embeddings()(torch.tensor([ids], device=self._model.device))

    def _sound(self, audio: Audio) -> Any:
        """(375 per 30 s, hidden). The encoder's pass cannot be broken off."""
        audio = audio if len(audio) else np.zeros(1, np.float32)  # the library cannot pad nothing
        mel = self._hear(audio, pad_to_multiple_of=CHUNK_SAMPLES)["input_features"]
        chunks = mel.reshape(mel.shape[1], -1, CHUNK_FRAMES).transpose(0, 1)
        return self._model.get_audio_features(chunks.to(self._model.device, self._model.dtype)).pooler_output

    def _read(self, memory: Memory, inputs: Any, ids: Sequence[int]) -> Any:
        """What may come after it: (1, vocabulary)."""
        told = {self._cache_name: memory.cache}
        with torch.inference_mode():
            logits = self._model(inputs_embeds=inputs, use_cache=True, logits_to_keep=1, **told).logits[:, -1].float()
        memory.ids += [NOT_SHARED if token == self._audio else token for token in ids]
        return logits

    def _chooser(self, request: Request) -> Any:
        allowed = {self._end, *([self.calls_token] if request.calls else [])}
        never = [token for token in range(self._words.num_special_tokens) if token not in allowed]
        device = self._model.get_output_embeddings().weight.device
        rules = LogitsProcessorList([SuppressTokensLogitsProcessor(never, device)])
        if request.temperature <= 0.0:
            return lambda logits: int(rules(None, logits).argmax())
        rules += [TemperatureLogitsWarper(request.temperature), TopPLogitsWarper(self._top_p)]
        return partial(_draw, rules, torch.Generator(device).manual_seed(self._seed))


def _draw(rules: Any, random: Any, logits: Any) -> int:
    return int(torch.multinomial(rules(None, logits).softmax(-1), 1, generator=random))
