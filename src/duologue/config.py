"""One tree of frozen settings, read once: defaults, then a TOML file, then the environment.

Every field has its unit in its name and its reason beside it. `DUOLOGUE_SERVER__PORT=9000` sets `server.port`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_type_hints

from duologue.core.clauses import Cutting
from duologue.core.patience import Patience
from duologue.core.playout import Pacing
from duologue.core.speech import SpeechSettings
from duologue.errors import ConfigError

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the model is told and remembers, and what is made of the user's language and feelings, each part of which can be
    switched off by itself. A client may change these for its own session."""

    instructions: str = (
        "You are a helpful assistant. Reply in one short English sentence."  # what a small model can hold to
    )
    context_window: int = 5  # exchanges given to the model: small models drift when they are given more
    max_history: int = 100  # turns kept for export
    language: str = "auto"  # of the replies: the user's, or one of the seven
    language_from_speech: bool = True  # the user's language is taken from what is heard
    language_from_text: bool = True  # and from what is typed
    language_to_model: bool = True  # the model is told in which language to answer, if it is not English
    voice: str = ""  # the engine's default
    emotion: str = "auto"  # the reply's tone: as the user's feelings call for, or one that is kept whatever they are
    intensity: float = 1.0  # 0..2: how much of a tone that is kept, and a factor on one that answers feelings
    feelings: bool = True  # the user's feelings are looked for, told to the client and answered; some want neither
    feelings_from_words: bool = True  # found in what was said
    feelings_from_sound: bool = True  # found in how it was said, against the speaker's own manner
    feelings_carried: float = 0.25  # 0..1, weight of the turns before in this one's: moods outlast sentences; 0: none
    feelings_to_voice: bool = True  # the reply's voice takes the tone that answers them, where `emotion` is "auto"
    feelings_to_model: bool = True  # the model is told in a sentence; a felt turn costs the reading of 8 to 17 tokens
    speakable: bool = True  # numbers, dates, amounts, links become words of the language before a voice has them
    speed: float = 1.0  # factor on the voice's own rate


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client can cost at most."""

    sessions: int = 16  # beyond it a client is refused at once, with a reason
    busy: float = 0.3  # nor beyond this share of the busiest engine's time, for all share the cores; 0: places only
    text_chars: int = 8_000  # typed at once; about the context of the packaged model
    message_bytes: int = 16_000_000  # one WebSocket message: a dropped WAV of some minutes
    upload_bytes: int = 25_000_000  # one recording to transcribe: OpenAI's own limit, 13 minutes of 16 kHz WAV
    outbox_bytes: int = 8_000_000  # waiting for a client that stopped reading; then it is disconnected
    engine_s: float = 20.0  # an engine that works and gives nothing for so long has failed: nobody waits longer
    idle_s: float = 600.0  # nobody spoke or typed: the place is given back
    session_s: float = 3_600.0  # the longest conversation: as long as OpenAI's, which clients are written for
    resume_s: float = 60.0  # a lost connection's session waits so long for its client; a tunnel, a change of network


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, and who may come in."""

    host: str = "127.0.0.1"  # loopback: a microphone page open to the network is a decision, not a default
    port: int = 8080
    traces: str = ""  # folder for a JSON-lines trace per session; empty keeps none
    keys: tuple[str, ...] = ()  # whoever connects must show one of them; none: nobody is asked
    keys_file: str = ""  # more of them, one a line: a file can be kept from other users' eyes
    open: bool = False  # listen beyond loopback though no key is asked for
    origins: tuple[str, ...] = ()  # pages that may connect beside the server's own: "https://app.example"; "*" is any
    tls_certificate: str = ""  # PEM file, the chain after it; with `tls_key` the server speaks https and wss
    tls_key: str = ""  # PEM file


@dataclass(frozen=True, slots=True)
class Realtime:
    """For clients of the OpenAI Realtime API."""

    lead_s: float = 0.3  # sound sent ahead over WebSocket: stock clients cannot hold it, it plays on when interrupted


@dataclass(frozen=True, slots=True)
class Rtc:
    """How WebRTC clients reach this server."""

    udp_ports: str = ""  # "40000-40100", to be opened in a firewall or published by a container; empty: any
    advertise: tuple[str, ...] = ()  # addresses that clients are told in place of the machine's own: it is behind NAT
    stun_url: str = ""  # "stun:stun.example:3478", to find the own public address; empty: no stranger is asked
    turn_url: str = ""  # "turn:turn.example:3478", relays for clients whose network lets nothing else through
    turn_username: str = ""
    turn_password: str = ""
    connect_s: float = 10.0  # a client that has not connected by then never will


@dataclass(frozen=True, slots=True)
class Feelings:
    """How the user's feelings are answered, for all clients; what of it a client wants is `Conversation`'s."""

    wait_s: float = 0.03  # a reply waits so long to be told; the words take 1 ms, the sound was heard before
    policy: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # lines of tone.ANSWERS, and `sure`


@dataclass(frozen=True, slots=True)
class Engines:
    """Which engine does each task, by registered name; `speakers` is tried in order for the reply's language."""

    vad: str = "silero"
    turn_detector: str = "sound_and_words"
    recognizer: str = "polyglot"
    writer: str = "llama"
    speakers: tuple[str, ...] = ("piper", "espeak")
    emotion: str = "words_and_sound"
    fetch: bool = True  # a language's recogniser may be downloaded when the language is first wanted
    prefill: bool = True  # the writer reads what is heard while the user still speaks: work that is lost if they go on
    places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Where an engine runs, by its name: "thread", in this process; "process", in a worker with this program's own packages; or
    the path of a Python with others. Not named: in a worker, if an environment is installed for it, else in this process."""
    environments: str = ""  # folder of what `duologue engines install` makes; empty: beside the user's cached models
    cpu_wheels: str = (
        "https://download.pytorch.org/whl/cpu"  # asked for torch where there is no GPU; empty: pip's own index
    )
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Config:
    profile: str = "packaged"  # which engines and models run; see PROFILES
    models: str = ""  # folder of the model store; empty: the user's cache folder
    speech: SpeechSettings = SpeechSettings()
    patience: Patience = Patience()
    pacing: Pacing = Pacing()
    cutting: Cutting = Cutting()
    conversation: Conversation = Conversation()
    limits: Limits = Limits()
    server: Server = Server()
    realtime: Realtime = Realtime()
    webrtc: Rtc = Rtc()
    feelings: Feelings = Feelings()
    engines: Engines = Engines()


ON_A_GPU: Final = ("chatterbox", *Engines().speakers)
"""A voice that cannot be loaded costs a warning, and the next one speaks."""

PROFILES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "packaged": {},
        "voxtral": {"recognizer": "by_ear", "writer": "voxtral", "speakers": ON_A_GPU, "turn_detector": "smart_turn"},
        "voxtral-live": {"recognizer": "voxtral_realtime", "speakers": ON_A_GPU},
        "voxtral-gguf": {"recognizer": "by_ear", "writer": "voxtral_gguf", "turn_detector": "smart_turn"},
        "remote": {"recognizer": "by_ear", "writer": "voxtral_http", "turn_detector": "smart_turn"},
    }
)
"""What each profile has in place of the defaults of `engines`; `packaged` is those defaults."""


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """The settings in force. Raises `ConfigError`: config_unreadable, unknown_setting, bad_setting, unknown_profile."""
    environment = os.environ if environment is None else environment
    config = Config()
    if path is not None:
        config = _merge(config, _read(path), str(path))
    config = _merge(config, _from_environment(environment), "the environment")
    return with_profile(replace(config, profile="packaged"), config.profile)


def with_profile(config: Config, name: str) -> Config:
    """Another profile: an engine that was chosen by name stays. Raises `ConfigError` (unknown_profile)."""
    if name not in PROFILES:
        raise ConfigError("unknown_profile", f"there is no profile {name!r}; there are: {', '.join(PROFILES)}")
    before, after = (replace(Engines(), **PROFILES[each]) for each in (config.profile, name))
    unchosen = [
        each
        for each in Engines.__slots__
        if each != "settings" and getattr(config.engines, each) == getattr(before, each)
    ]
    engines = replace(config.engines, **{each: getattr(after, each) for each in unchosen})
    return replace(config, profile=name, engines=engines)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError("config_unreadable", f"{path}: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in environment.items():
        if name.startswith("DUOLOGUE_"):
            *path, leaf = name.removeprefix("DUOLOGUE_").lower().split("__")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[leaf] = value
    return tree


def _merge(settings: S, tree: Mapping[str, Any], where: str, path: str = "") -> S:
    hints = get_type_hints(type(settings))
    known = {entry.name for entry in fields(settings)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for name, value in tree.items():
        if name not in known:
            raise ConfigError("unknown_setting", f"{where} sets {path}{name}, which does not exist")
        old = getattr(settings, name)
        if is_dataclass(old):
            changes[name] = _merge(old, _table(value, where, path + name), where, f"{path}{name}.")
        else:
            changes[name] = convert(value, hints[name], f"{where}: {path}{name}")
    return replace(settings, **changes)  # type: ignore[type-var]


def _table(value: Any, where: str, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError("bad_setting", f"{where}: {name} is a group of settings, not {value!r}")
    return value


def convert(value: Any, kind: Any, where: str) -> Any:
    """A value from TOML, JSON or the environment as the field's type, or a `ConfigError` (bad_setting)."""
    wrong = ConfigError("bad_setting", f"{where} must be {getattr(kind, '__name__', kind)}, not {value!r}")
    if kind is bool and value in ("true", "false"):
        return value == "true"
    if kind in (int, float) and isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            raise wrong from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == tuple[str, ...]:
        items = [item for item in value.split(",") if item] if isinstance(value, str) else value
        if isinstance(items, list | tuple) and all(isinstance(item, str) for item in items):
            return tuple(items)
        raise wrong
    if kind in (bool, int, float, str) and type(value) is kind:
        return value
    if isinstance(value, Mapping) and kind not in (bool, int, float, str):
        return MappingProxyType(dict(value))
    raise wrong


def override(config: Config, group: str, **values: Any) -> Config:
    """The same settings with some of one group replaced, as the command line does; None leaves a setting alone."""
    changes = {name: value for name, value in values.items() if value is not None}
    return _merge(config, {group: changes}, "the command line")
