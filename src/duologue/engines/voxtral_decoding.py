"""Voxtral's arithmetic: what a prompt is in tokens, how they are read, and how the next one is chosen.

Everything here blocks and belongs to one thread. A prompt is read in small steps (the sound, a portion of the text); from then on
all replies under way get their next token in one pass. So whoever drives it decides whose step is next, lets replies in and out
between passes, and can stop after any of them. `generate` of transformers gives none of that, and its continuous batching takes
neither sound nor a cache of an earlier turn. What the steps give is checked against `generate` in the tests.

    prompt      <s>[INST]instructions[/INST]…</s>[INST]…[BEGIN_AUDIO][AUDIO]×375 per 30 s[/INST]
    transcript  <s>[INST][BEGIN_AUDIO][AUDIO]×375 per 30 s[/INST][TRANSCRIBE]
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
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


@dataclass(eq=False)
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


@dataclass(eq=False)
class Memory:
    """What the model has read of a conversation: `ids`, and its cache of just as many places."""

    ids: list[int] = field(default_factory=list)
    cache: Any = field(default_factory=DynamicCache)
    reader: Request | None = None

    @property
    def sound(self) -> bool:
        """False while somebody reads into it, or after a read that broke off half way."""
        return (self.reader is None or not self.reader.live) and self.cache.get_seq_length() == len(self.ids)


@dataclass(eq=False)
class Reply:
    """One under way. `token` is chosen, and not yet read by the model itself; None once the reply is over."""

    request: Request
    memory: Memory
    choose: Callable[[Any], int | None]
    left: int
    token: int | None = None

    @property
    def goes_on(self) -> bool:
        """Not if it was closed, or if a newer reply reads into the same memory."""
        return bool(self.left) and self.request.live and self.memory.reader is self.request

    def take(self, logits: Any) -> None:
        """(1, vocabulary)."""
        self.token = self.choose(logits)
        self.left = 0 if self.token is None else self.left - 1


class Rows(DynamicCache):  # type: ignore[misc]  # transformers has no types that hold
    """Caches of different lengths as one, for one pass: each grows by itself, the shorter ones look padded on the left.

    The padding is a copy, as is what a `DynamicCache` does for each token anyway: little beside the weights that a pass reads.
    """

    def __init__(self, caches: Sequence[Any]) -> None:
        super().__init__()
        self._caches = caches

    def update(self, keys: Any, values: Any, layer: int, *more: Any, **named: Any) -> tuple[Any, Any]:
        rows = [
            cache.update(keys[row : row + 1], values[row : row + 1], layer, *more, **named)
            for row, cache in enumerate(self._caches)
        ]
        return _stacked([key for key, _ in rows]), _stacked([value for _, value in rows])


def _stacked(rows: Sequence[Any]) -> Any:
    """(1, heads, tokens, size) each, as (rows, heads, most tokens, size)."""
    longest = max(row.shape[2] for row in rows)
    whole = rows[0].new_zeros(len(rows), rows[0].shape[1], longest, rows[0].shape[3])
    for place, row in enumerate(rows):
        whole[place, :, longest - row.shape[2] :] = row[0]
    return whole


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

    def begin(self, request: Request) -> Iterator[Reply | None]:
        """None for each step of reading but the last, which gives the reply with its first token, if it has any."""
        memory = self._recall(request)
        inputs = self._embed(request, len(memory.ids))
        logits = None
        for start in range(0, inputs.shape[1], READ):
            yield None
            portion = inputs[:, start : start + READ]
            logits = self._read(memory, portion, request.ids[len(memory.ids) :][: portion.shape[1]])
        reply = Reply(request, memory, self._chooser(request), request.max_tokens)
        if reply.left:
            reply.take(logits)
            yield reply

    def advance(self, replies: Sequence[Reply]) -> list[int | None]:
        """The next token of each, all in one pass; None for those that are over."""
        going = [reply for reply in replies if reply.goes_on]
        if going:
            for reply, logits in zip(going, self._read_back(going), strict=True):
                reply.take(logits[None])
        return [reply.token if reply in going else None for reply in replies]

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
        logits = self._pass(inputs, memory.cache)
        memory.ids += [NOT_SHARED if token == self._audio else token for token in ids]
        return logits

    def _read_back(self, replies: Sequence[Reply]) -> Any:
        """Each reply's own last token: (replies, vocabulary)."""
        tokens = [reply.token for reply in replies if reply.token is not None]
        memories = [reply.memory for reply in replies]
        if len(replies) == 1:
            return self._read(memories[0], self._look_up(tokens), tokens)
        inputs = self._look_up(tokens).transpose(0, 1)
        lengths = torch.tensor([[len(memory.ids)] for memory in memories], device=inputs.device)
        missing = lengths.max() - lengths
        padded = torch.arange(int(lengths.max()) + 1, device=inputs.device) < missing
        hidden = torch.zeros(padded.shape, dtype=inputs.dtype, device=inputs.device)
        hidden.masked_fill_(padded, torch.finfo(inputs.dtype).min)
        rows = Rows([memory.cache for memory in memories])
        logits = self._pass(inputs, rows, attention_mask=hidden[:, None, None], position_ids=lengths)
        for memory, token in zip(memories, tokens, strict=True):
            memory.ids.append(token)
        return logits

    def _pass(self, inputs: Any, cache: Any, **more: Any) -> Any:
        """(batch, tokens, hidden) to what may come after each row: (batch, vocabulary)."""
        told = {self._cache_name: cache, **more}
        with torch.inference_mode():
            return self._model(inputs_embeds=inputs, use_cache=True, logits_to_keep=1, **told).logits[:, -1].float()

    def _chooser(self, request: Request) -> Callable[[Any], int | None]:
        """Given (1, vocabulary); None ends the reply."""
        allowed = {self._end, *([self.calls_token] if request.calls else [])}
        never = [token for token in range(self._words.num_special_tokens) if token not in allowed]
        device = self._model.get_output_embeddings().weight.device
        rules = LogitsProcessorList([SuppressTokensLogitsProcessor(never, device)])
        if request.temperature > 0.0:
            rules += [TemperatureLogitsWarper(request.temperature), TopPLogitsWarper(self._top_p)]
            return partial(self._draw, rules, torch.Generator(device).manual_seed(self._seed))
        return lambda logits: self._unless_end(int(rules(None, logits).argmax()))

    def _draw(self, rules: Any, random: Any, logits: Any) -> int | None:
        return self._unless_end(int(torch.multinomial(rules(None, logits).softmax(-1), 1, generator=random)))

    def _unless_end(self, token: int) -> int | None:
        return None if token == self._end else token
