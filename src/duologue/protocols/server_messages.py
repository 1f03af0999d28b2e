"""What the native protocol tells its clients, as a table: `SERVER`. The other direction is in `messages.py`.

Encoding (`native.py`) and the reference in docs/protocols.md are read from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from duologue import protocols as p


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a server's message and how it is read off the fact; without `value` it is the attribute of that name."""

    name: str
    kind: str
    meaning: str
    value: Callable[[Any], Any] | None = None
    digits: int = 1

    def of(self, fact: p.Fact) -> Any:
        value = getattr(fact, self.name) if self.value is None else self.value(fact)
        if isinstance(value, float):
            return round(value, self.digits)
        return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True)
class Outgoing:
    name: str
    meaning: str
    parts: tuple[Part, ...]


TURN = Part("turn", "integer", "the turn it belongs to")


def _voice(voice: p.Voice) -> dict[str, Any]:
    return asdict(voice) | {"languages": list(voice.languages)}


TRANSCRIPT = Outgoing(
    "transcript",
    "The user's words so far, all of them each time.",
    (
        TURN,
        Part("text", "string", "what was said or typed; empty and final: it was answered by ear, and the words follow"),
        Part(
            "is_final",
            "boolean",
            "the turn is decided; it changes no more, except by `reopened`",
            lambda fact: isinstance(fact, p.Understood) or fact.final,
        ),
        Part("language", "string", "ISO 639-1"),
    ),
)

PLAYBACK = Outgoing(
    "playback",
    "Over WebRTC, where the server keeps the clock: the reply's sound begins, or has ended.",
    (TURN, Part("playing", "boolean", "it begins", lambda fact: isinstance(fact, p.PlaybackStarted))),
)

ERROR = Outgoing(
    "error",
    "Something could not be done; the session lives on unless the socket closes next.",
    (
        Part(
            "code",
            "string",
            "stable, for programs; `degraded`: it is only done less well than it should be",
            lambda fact: fact.code if isinstance(fact, p.Failure) else "degraded",
        ),
        Part("message", "string", "one sentence, for people"),
        Part(
            "turn",
            "integer or null",
            "the turn that ended by it, if one did",
            lambda fact: fact.turn if isinstance(fact, p.Failure) else None,
        ),
    ),
)

SERVER: Mapping[type[p.Fact], Outgoing] = {
    p.Ready: Outgoing(
        "ready",
        "The first message: the models are warm, you may speak; or the session is yours again.",
        (
            Part("session", "string", "the session's id, as in traces and logs"),
            Part("settings", "object", "all settings in force"),
            Part("profile", "string", "the set of engines that runs"),
            Part("engines", "object", "which engine does what: task to name"),
            Part(
                "voices",
                "list of {name, languages, speaker, emotion, sample_rate, streaming, cloning, cancel, licence}",
                "what the setting `voice` may name; without a name: the speaker's own voice, which is found by language. The rest"
                " is what the speaker declares (docs/voices.md)",
                lambda fact: [_voice(voice) for voice in fact.voices],
            ),
            Part("resume", "string", "the token that takes this session up again after a lost connection; empty: none"),
            Part("resumed", "boolean", "this connection took a session up again", lambda fact: fact.said is not None),
            Part(
                "turns",
                "list of {role, content, turn}",
                "the conversation so far, if `resumed`; `turn` is null for what was restored",
                lambda fact: [{"role": x.role, "content": x.content, "turn": x.turn} for x in fact.said or ()],
            ),
        ),
    ),
    p.Configured: Outgoing(
        "settings", "The settings after a change.", (Part("settings", "object", "all settings in force"),)
    ),
    p.StateChanged: Outgoing(
        "state",
        "Who has the floor.",
        (
            TURN,
            Part("state", "string", "`listening` nobody speaks, `hearing` the user does, `thinking`, `speaking`"),
        ),
    ),
    p.UserSpeech: Outgoing(
        "user_speech",
        "The user's voice began or ended.",
        (
            TURN,
            Part(
                "event",
                "string",
                "`speech_started` or `speech_stopped`",
                lambda fact: "speech_started" if fact.speaking else "speech_stopped",
            ),
            Part("at_ms", "number", "where, in ms of the sound sent by the client"),
        ),
    ),
    p.Heard: TRANSCRIPT,
    p.Understood: TRANSCRIPT,
    p.Felt: Outgoing(
        "emotion",
        "What the user feels in a turn that is decided, as far as can be told. May come after the reply has begun, and again.",
        (
            TURN,
            Part("label", "string", "`neutral` `happy` `sad` `angry` `surprised`"),
            Part("intensity", "number 0–2", "1 is a clear feeling", digits=2),
            Part("confidence", "number 0–1", "the probability that the label is right", digits=2),
            Part("evidence", "list of strings", "what it rests on, strongest first, in English"),
        ),
    ),
    p.Reopened: Outgoing(
        "reopened",
        "The turn was closed too early and goes on: its final transcript is partial again; drop the words and the sound of "
        "its reply. Chunks of that turn count from 0 again.",
        (TURN,),
    ),
    p.TurnDropped: Outgoing(
        "turn_dropped", "It was no turn, but noise or a listener's word: drop its partial transcript.", (TURN,)
    ),
    p.ReplyVoice: Outgoing(
        "voice",
        "Who speaks from here on.",
        (
            TURN,
            Part("speaker", "string", "the engine"),
            Part("language", "string", "ISO 639-1, of what it says"),
            Part(
                "passed_over",
                "list of {speaker, reason}",
                "better ones that do not, each with the reason",
                lambda fact: [{"speaker": speaker, "reason": reason} for speaker, reason in fact.passed_over],
            ),
            Part("emotion", "string", "the tone that it was asked for"),
            Part("unmet", "string", "why it cannot sound like that; empty: it can"),
        ),
    ),
    p.ReplyWord: Outgoing(
        "text_chunk",
        "One word of the reply, as soon as it exists.",
        (
            TURN,
            Part("chunk_id", "string", "`turn-index`", lambda fact: f"{fact.turn}-{fact.index}"),
            Part("chunk_index", "integer", "counts from 0 in each reply", lambda fact: fact.index),
            Part("text", "string", "the word with its spaces: joined, they are the reply; the last chunk is empty"),
            Part("has_audio", "boolean", "the word will also be spoken"),
            Part("is_final", "boolean", "the reply has no more words", lambda fact: fact.final),
            Part("first_token_latency_ms", "number", "from the end of the turn to the reply's first token"),
            Part("processing_time_ms", "number", "from the end of the turn to this word"),
        ),
    ),
    p.ReplyAudio: Outgoing(
        "audio_chunk",
        "The reply's sound, announced: unless `bytes` is 0, the next message is binary and holds that many of PCM16.",
        (
            TURN,
            Part("chunk_index", "integer", "counts from 0 in each reply", lambda fact: fact.index),
            Part("at_ms", "number", "where the block begins in the reply's sound; blocks join sample-exactly"),
            Part("sample_rate", "integer", "Hz; always the session's `output_rate`", lambda fact: fact.rate),
            Part(
                "bytes", "integer", "length of the binary message that follows; 0: none follows", lambda f: len(f.pcm)
            ),
            Part(
                "words",
                "list of {text, end_ms}",
                "words that end in this block, at ms of the reply's sound",
                lambda fact: [{"text": word, "end_ms": round(end, 1)} for word, end in fact.words],
            ),
            Part(
                "is_final", "boolean", "the reply has no more sound; such a chunk has 0 bytes", lambda fact: fact.final
            ),
        ),
    ),
    p.Ducked: Outgoing(
        "ducked", "The user may be taking the floor: hold playback where it is, keep what is buffered.", (TURN,)
    ),
    p.Resumed: Outgoing("resumed", "They were not: play on from where you held.", (TURN,)),
    p.Interrupted: Outgoing(
        "interrupted",
        "The reply is over: throw away what is buffered of it. No chunk of this turn's reply follows.",
        (
            TURN,
            Part("heard_text", "string", "the words that the user heard; the history keeps these"),
            Part("heard_ms", "number", "how much sound that was"),
        ),
    ),
    p.ReplyDone: Outgoing(
        "reply_done",
        "The reply was played to its end.",
        (
            TURN,
            Part("text", "string", "all of it"),
            Part("audio_ms", "number", "length of its sound"),
            Part("speaker", "string", "the engine that spoke"),
            Part("complete", "boolean", "it was not cut off for its length"),
        ),
    ),
    p.ReplyCall: Outgoing(
        "tool_call",
        "The model wants a function run.",
        (
            TURN,
            Part("call_id", "string", "names the call", lambda fact: fact.call.id),
            Part("name", "string", "the function", lambda fact: fact.call.name),
            Part("arguments", "string", "JSON, as the model wrote it", lambda fact: fact.call.arguments),
        ),
    ),
    p.PlaybackStarted: PLAYBACK,
    p.PlaybackStopped: PLAYBACK,
    p.Latency: Outgoing(
        "latency",
        "The turn's waterfall in ms, counted from the user's last voiced sample.",
        (
            TURN,
            Part("marks", "object", "when each thing happened"),
            Part("parts", "object", "how long each step took; they sum to the mark `voice_to_voice`"),
        ),
    ),
    p.Exported: Outgoing(
        "conversation",
        "Answers `export`.",
        (Part("conversation", "object", "`turns` (role, content, timestamp, latency_ms …) and `total_turns`"),),
    ),
    p.Pong: Outgoing("pong", "Answers `ping`.", ()),
    p.Failure: ERROR,
    p.Degraded: ERROR,
}

UNTOLD: frozenset[type[p.Fact]] = frozenset(
    {
        p.Nudged,
        p.ReplyBegan,
        p.ReplyWithdrawn,
        p.ReplyCallPart,
        p.ReplyWritten,
        p.MicrophoneCleared,
        p.ItemAdded,
        p.ItemHeard,
        p.ItemRemoved,
        p.ItemShown,
        p.ItemCut,
    }
)
"""What this protocol's clients cannot bring about, or learn from other messages."""

DONE: tuple[Part, ...] = (
    Part("turn", "integer", "which utterance, counted from 1"),
    Part("audio_ms", "number", "length of its sound"),
    Part("first_audio_ms", "number or null", "from the utterance's turn to be made to its first sound; null: no sound"),
    Part("speaker", "string", "the engine that spoke"),
)
"""`done`, the last message of an utterance on `/ws/tts`."""
