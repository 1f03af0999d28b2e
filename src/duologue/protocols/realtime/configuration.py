"""The session object: what is in force, how an update changes it, and what it means to a session.

It is kept as it is shown, in the protocol's own JSON; whatever cannot be done here stays in it, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from duologue import protocols as p
from duologue.audio import FRAME_S
from duologue.core.patience import Manners, Patience
from duologue.core.speech import SpeechSettings
from duologue.engines import Tool
from duologue.protocols.realtime.incoming import RATE
from duologue.protocols.realtime.refusals import Refusal
from duologue.protocols.realtime.sound import Format

SEMANTIC_VAD: Final = {"type": "semantic_vad", "eagerness": "auto", "create_response": True, "interrupt_response": True}

SERVER_VAD: Final = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}

TRANSCRIPTION: Final = {"language": None, "prompt": None}

PCM: Final = {"type": "audio/pcm", "rate": RATE}

NULLABLE: Final = (
    "turn_detection",
    "idle_timeout_ms",
    "transcription",
    "language",
    "noise_reduction",
    "tracing",
    "prompt",
    "include",
    "reasoning",
)
"""Fields that null clears. Null in any other changes nothing: some clients write down what they do not set."""

MERGED: Final = ("audio", "input", "output", "turn_detection", "transcription", "noise_reduction")
"""Objects of which only the fields that are given change; any other is replaced."""

RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "audio.input.turn_detection.threshold": (0.0, 1.0),
    "audio.input.turn_detection.prefix_padding_ms": (0, 2_000),
    "audio.input.turn_detection.silence_duration_ms": (0, 60_000),
    "audio.input.turn_detection.idle_timeout_ms": (1_000, 600_000),
    "audio.output.speed": (0.25, 1.5),
    "max_output_tokens": (1, 1_000_000),
    "truncation.retention_ratio": (0.0, 1.0),
}
"""Closed. The service's own where the reference knows them; where it is stricter (4096 tokens) nothing here calls for it."""

EAGERNESS: Final[Mapping[str, tuple[float, float]]] = {
    "low": (2.0, 8.0),
    "medium": (1.0, 4.0),
    "auto": (1.0, 4.0),
    "high": (0.6, 2.0),
}
"""How much longer than usual pauses may be, and the longest (s) that the service waits at all."""

VOICE = "alloy"
"""What the default voice is called, unless the server has a name for it."""

STOP_GAP = 0.15
"""Below the threshold at which a voice starts lies the one at which it stops: Silero's own usual gap."""

BY_HAND: Final = Manners(answers=False, yields=False, by_hand=True)


@dataclass(frozen=True, slots=True)
class Configuration:
    """`shown` is the session object in full. `defaults` is how turns are taken where the client says nothing."""

    shown: Mapping[str, Any]
    defaults: p.TurnTaking

    @property
    def transcribes_only(self) -> bool:
        return bool(self.shown["type"] == "transcription")

    # ── What it says ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def input_format(self) -> Format:
        return Format.of(self._input["format"])

    @property
    def output_format(self) -> Format:
        return Format.of(self._output.get("format") or PCM)

    @property
    def voice(self) -> str:
        return str(self._output.get("voice") or VOICE)

    @property
    def said(self) -> dict[str, Any]:
        """Settings of `config.Conversation` that the client has set; in all others the server's own hold."""
        told = {name: self._output.get(name) for name in ("voice", "speed")}
        told["instructions"] = self.shown.get("instructions")
        return {name: value for name, value in told.items() if value is not None}

    @property
    def transcribed(self) -> bool:
        """Whether the client wants to be told what it said."""
        return self.transcribes_only or self._input["transcription"] is not None

    @property
    def turn_detection(self) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self._input["turn_detection"]
        return found

    @property
    def padding_ms(self) -> float:
        return self.turn_taking.speech.lead_in_s * 1000

    @property
    def _input(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.shown["audio"]["input"]
        return found

    @property
    def _output(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.shown["audio"].get("output", {})
        return found

    @property
    def object(self) -> dict[str, Any]:
        """The session object as JSON, also before the session stands."""
        if self.transcribes_only:
            return dict(self.shown)
        output = {**self._output, "voice": self.voice, "speed": self._output["speed"] or 1.0}
        audio = {**self.shown["audio"], "output": output}
        return {**self.shown, "instructions": self.shown["instructions"] or "", "audio": audio}

    def event(self) -> dict[str, Any]:
        """The same for `session.created` and `session.updated`."""
        shown = self.object
        formats = {"input": self.input_format.shown, "output": self.output_format.shown}
        sides = {side: {**given, "format": formats[side]} for side, given in shown["audio"].items()}
        return {**shown, "audio": sides}

    # ── What it means ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def turn_taking(self) -> p.TurnTaking:
        chosen, defaults = self.turn_detection, self.defaults
        if chosen is None:
            return replace(defaults, manners=BY_HAND, judged=False)
        if chosen["type"] == "semantic_vad":
            return replace(
                defaults, patience=_eager(defaults.patience, chosen["eagerness"]), manners=self._manners(chosen)
            )
        pause_s = max(FRAME_S, chosen["silence_duration_ms"] / 1000)
        patience = replace(defaults.patience, complete_s=pause_s, incomplete_s=pause_s, adapts=False, ready_s=0.0)
        return p.TurnTaking(_detecting(defaults.speech, chosen), patience, self._manners(chosen), judged=False)

    def _manners(self, chosen: Mapping[str, Any]) -> Manners:
        nudge_ms = chosen.get("idle_timeout_ms")
        nudge_s = None if nudge_ms is None or self.transcribes_only else nudge_ms / 1000
        answers = bool(chosen["create_response"]) and not self.transcribes_only
        return Manners(answers=answers, yields=bool(chosen["interrupt_response"]), nudge_s=nudge_s)

    @property
    def writing(self) -> p.Writing:
        return p.Writing() if self.transcribes_only else writing(self.shown)

    def begun(self, id: str, settings: Mapping[str, Any]) -> Configuration:
        """The session stands: `settings` fill what the client has not set."""
        shown = {**self.shown, "id": id}
        if not self.transcribes_only:
            output = {name: settings.get(name) for name in ("voice", "speed")} | _set(self._output)
            shown |= {"instructions": settings.get("instructions")} | _set(self.shown)
            shown |= {"id": id, "audio": {**self.shown["audio"], "output": output}}
        return replace(self, shown=shown)

    # ── How it changes ────────────────────────────────────────────────────────────────────────────────────────────

    def changed(self, given: Mapping[str, Any]) -> Configuration:
        """`given` has passed the SDK's models. Raises `Refusal`, and then nothing has changed."""
        self._check_type(given["type"])
        given = {name: value for name, value in given.items() if name not in ("type", "model")}
        check_ranges(given, "session")
        check_modalities(given, "session")
        check_tools(given, "session")
        return replace(self, shown=_merged(self.shown, _normal(given)))

    def _check_type(self, type: str) -> None:
        if type == self.shown["type"]:
            return
        text = f"Passing a {type} session update event to a {self.shown['type']} session is not allowed."
        raise Refusal("invalid_value", text, "session.type")


def initial(model: str, expires_at: int, defaults: p.TurnTaking, *, transcription: bool) -> Configuration:
    """`defaults` is made safe: a turn that this protocol has announced cannot be taken back."""
    patience = replace(defaults.patience, reopen_s=0.0, reopen_heard_s=0.0)
    defaults = replace(defaults, patience=patience)
    heard = {"format": PCM, "transcription": None, "noise_reduction": None, "turn_detection": SEMANTIC_VAD}
    shown: dict[str, Any] = {"id": "", "expires_at": expires_at, "include": None}
    if transcription:
        shown |= {"type": "transcription", "object": "realtime.transcription_session", "audio": {"input": heard}}
        return Configuration(shown, defaults)
    shown |= {
        "type": "realtime",
        "object": "realtime.session",
        "model": model,
        "output_modalities": ["audio"],
        "instructions": None,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "audio": {"input": heard, "output": {"format": PCM, "voice": None, "speed": None}},
    }
    return Configuration(shown, defaults)


# ── Parts that a response.create has too ──────────────────────────────────────────────────────────────────────────


def writing(given: Mapping[str, Any]) -> p.Writing:
    """Tools that a server would run itself (MCP) are nobody's here."""
    functions = [tool for tool in given["tools"] if tool.get("type", "function") == "function"]
    tools = tuple(Tool(f["name"], f.get("description") or "", f.get("parameters") or {}) for f in functions)
    choice, most = given["tool_choice"], given["max_output_tokens"]
    if not isinstance(choice, str):
        choice = choice["name"] if choice["type"] == "function" else "auto"
    spoken = given["output_modalities"] == ["audio"]
    return p.Writing(tools, choice, None if most == "inf" else most, spoken, _retention(given["truncation"]))


def _retention(truncation: Any) -> float | None:
    """`auto` keeps as much as there is room for, `disabled` all."""
    if isinstance(truncation, Mapping):
        return float(truncation["retention_ratio"])
    return None if truncation == "disabled" else 1.0


def voice_of(given: Any) -> str:
    """A voice by its name, however it was written."""
    return str(given["id"]) if isinstance(given, Mapping) else str(given)


def check_modalities(given: Mapping[str, Any], root: str) -> None:
    """Raises `Refusal`."""
    chosen = given.get("output_modalities")
    if chosen is not None and chosen not in (["text"], ["audio"]):
        text = f"Invalid modalities: {chosen}. Supported combinations are: ['text'] and ['audio']."
        raise Refusal("invalid_value", text, f"{root}.output_modalities")


def check_tools(given: Mapping[str, Any], root: str) -> None:
    """Raises `Refusal`."""
    for at, tool in enumerate(given.get("tools") or ()):
        if tool.get("type", "function") != "function":
            continue
        where = f"{root}.tools[{at}]"
        if not tool.get("name"):
            raise Refusal("missing_required_parameter", f"Missing required parameter: '{where}.name'.", f"{where}.name")
        if not isinstance(tool.get("parameters") or {}, dict):
            raise Refusal(
                "invalid_type", f"Invalid type for '{where}.parameters': expected an object.", f"{where}.parameters"
            )


def check_ranges(given: Mapping[str, Any], root: str) -> None:
    """Raises `Refusal`: integer_below_min_value, decimal_above_max_value …"""
    for path, value in _numbers(given, ""):
        low, high = RANGES.get(path, (value, value))
        if not low <= value <= high:
            kind = "integer" if isinstance(value, int) else "decimal"
            side, bound = ("below_min", f"at least {low:g}") if value < low else ("above_max", f"at most {high:g}")
            param = f"{root}.{path}"
            raise Refusal(f"{kind}_{side}_value", f"Invalid '{param}': {value}. Expected {bound}.", param)


def _numbers(given: Mapping[str, Any], path: str) -> Iterator[tuple[str, float]]:
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{path}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}{name}", value


def _set(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


# ── Merging ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _normal(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without the nulls that change nothing, and with the defaults that what is replaced brings along."""
    normal: dict[str, Any] = {}
    for name, value in given.items():
        if value is None and name not in NULLABLE:
            continue
        if name == "voice":
            value = voice_of(value)
        elif name == "format":
            value = Format.of(value).object
        elif name in MERGED and value is not None:
            value = _normal(value)
        normal[name] = value
    return normal


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        if name in MERGED and value is not None:
            value = _merged(_base(name, old.get(name), value), value)
        merged[name] = value
    return merged


def _base(name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the fields of an object are changed from: another kind of turn detection begins with its own defaults."""
    if name == "turn_detection" and (old is None or old["type"] != new["type"]):
        return SEMANTIC_VAD if new["type"] == "semantic_vad" else SERVER_VAD
    if name == "transcription" and old is None:
        return TRANSCRIPTION
    return old or {}


def _eager(patience: Patience, eagerness: str) -> Patience:
    scale, longest_s = EAGERNESS[eagerness]
    complete_s, incomplete_s = (
        min(longest_s, scale * pause_s) for pause_s in (patience.complete_s, patience.incomplete_s)
    )
    return replace(patience, complete_s=complete_s, incomplete_s=incomplete_s)


def _detecting(speech: SpeechSettings, chosen: Mapping[str, Any]) -> SpeechSettings:
    threshold = float(chosen["threshold"])
    return replace(
        speech,
        start_probability=threshold,
        stop_probability=max(0.0, threshold - STOP_GAP),
        lead_in_s=chosen["prefix_padding_ms"] / 1000,
    )
