"""End-of-turn detection from both sides: the melody of the voice (smart-turn), and whether the words could end here.

The words are put to a small language model as a user's message that is being written: P(the message ends now) is what it makes
of them. It knows nothing of the sound, and smart-turn nothing of the words; what each is worth beside the other is for
`core.endpointing` to say. LiveKit's turn detector asks the same question of a model that was trained for it
(https://github.com/livekit/agents, `livekit-plugins-turn-detector`).

The model is the packaged writer's, loaded a second time (its weights are mapped once): asked in the writer's own slots, the
question would stand in the way of the reply that is begun at the same moment.
"""

from __future__ import annotations

import math
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from duologue.audio import Audio
from duologue.engines import About, Loading, TurnDetector, llama, smart_turn
from duologue.engines import settings as settings_table
from duologue.engines.llama_server import close, serve, weights
from duologue.errors import EngineError
from duologue.places.thread import Lane, yield_processor

PROMPT: Final = "<|im_start|>system\nYou are a helpful voice assistant.<|im_end|>\n<|im_start|>user\n"
"""ChatML, as SmolLM2 was trained on: what follows is the user's, and it is the model's to say when that ends."""

WORDS: Final = 24
"""Of the turn's end, at the most: what was said before them hardly matters to where it ends, and each costs some 6 ms to read."""

STEP: Final = 12
"""The first words leave so many at a time: what is read of the others while the user speaks stays read."""

CANDIDATES: Final = 100
"""Of the next token; an end that is not among them is as good as impossible."""

BYTES: Final = 160
"""And no more than these: a word may be as long as it likes."""

CONTEXT_TOKENS: Final = 256
"""Room for the prompt and for `BYTES`, should each be a token."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.sound_and_words`."""

    model: str = llama.MODEL  # a packaged one that speaks ChatML
    threads: int = 1  # smart-turn's and the model's each: both run while the recogniser and the writer do


class SoundAndWords:
    """`TurnDetector` by the sound, `WordsDetector` beside it."""

    def __init__(self, sound: TurnDetector, words: Any) -> None:
        self.about = About(name="sound_and_words", licence="BSD-2-Clause AND Apache-2.0", cancel="chunk")
        self.window_s = smart_turn.WINDOW_S
        self.words_languages = frozenset({"en"})
        self._sound = sound
        self._servers = [words]
        self._lane = Lane("turn_words")
        self.lanes = (self._lane,)
        self.close = weakref.finalize(self, close, (), self._lane, self._servers)

    async def complete(self, audio: Audio, text: str) -> float:
        return await self._sound.complete(audio, text)

    async def end_of_words(self, text: str) -> float:
        """Raises `EngineError`."""
        try:
            return await self._lane.run(self._weigh, last_words(text))
        except RuntimeError as error:
            raise EngineError("sound_and_words", f"llama.cpp failed: {error}") from error

    def _weigh(self, text: str) -> float:
        answer = self._servers[0].handle_completions(
            {"prompt": PROMPT + text, "n_predict": 1, "n_probs": CANDIDATES, "temperature": 0.0, "cache_prompt": True}
        )
        if "choices" not in answer:
            raise EngineError("sound_and_words", f"llama.cpp says: {answer.get('message', answer)}")
        found = answer["choices"][0]["logprobs"]  # None where the text goes on with half of a character
        return end(found["content"][0]["top_logprobs"]) if found else 0.0


def last_words(text: str) -> str:
    said = text.split()
    words = " ".join(said[-(-max(0, len(said) - WORDS) // STEP) * STEP :])
    return words.encode("utf-8", "ignore")[-BYTES:].decode("utf-8", "ignore")


def end(candidates: list[dict[str, Any]]) -> float:
    """P of the tokens that say nothing: the end of the message, of the text."""
    return min(1.0, sum(math.exp(each["logprob"]) for each in candidates if not each["bytes"]))


def load(loading: Loading) -> SoundAndWords:
    """Needs the packaged models `smart-turn-v3.2` and the one of the setting `model`.

    Raises `ConfigError`: model_missing, model_corrupt, unknown_setting, bad_setting; `EngineError`: engine_load_failed.
    """
    settings = settings_table.read(Settings(), loading.settings, "sound_and_words")
    sound = smart_turn.load(Loading(loading.model, loading.lane, {"threads": settings.threads}))
    return SoundAndWords(sound, _serve(weights(loading.model(settings.model)), settings.threads))


def _serve(model: Path, threads: int) -> Any:
    """Its threads yield, as the one that starts them does: the answer is wanted a while after the reply's first words are."""
    start = partial(serve, model, slots=1, context=CONTEXT_TOKENS, threads=threads, reading_threads=threads)
    with ThreadPoolExecutor(1, initializer=yield_processor) as pool:
        return pool.submit(start).result()
