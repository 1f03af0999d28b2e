"""Settings: where they come from, what is refused, and that every one of them changes something."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import virtual
from dialogue import converse, lineup, play
from starlette.datastructures import Headers

from duologue import clock, config, models
from duologue.app import App
from duologue.config import Config, Rtc, load, override
from duologue.core.clauses import Clauses
from duologue.core.endpointing import Evidence
from duologue.core.events import (
    Event,
    Overheard,
    ReplyAudible,
    Scored,
    SpeechStarted,
    SpeechStopped,
    Transcribed,
    Turn,
    Typed,
)
from duologue.core.playout import Playout
from duologue.core.speech import SpeechDetector
from duologue.core.turns import Turns
from duologue.engines import Prompt, Sound, Style, registry
from duologue.engines import lineup as lineups
from duologue.engines.scripted import ScriptedSpeaker, ScriptedTurnDetector, ScriptedWriter
from duologue.errors import ClientError, ConfigError
from duologue.places.thread import Lane
from duologue.protocols import Export, Exported, Fact, Failure, Type
from duologue.reply import Reply
from duologue.transports.access import Access
from duologue.transports.conversations import Conversations
from duologue.transports.outbox import Ending

# ── Where they come from ──────────────────────────────────────────────────────────────────────────────────────────────


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "duologue.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_set_is_the_defaults() -> None:
    assert load(None, {}) == Config()


def test_the_environment_goes_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, '[server]\nport = 9000\nhost = "::1"\n[patience]\nbarge_in_s = 1\n')
    settings = load(path, {"DUOLOGUE_SERVER__PORT": "9001", "HOME": "/", "PATH": ""})
    assert not settings.server.open
    assert load(None, {"DUOLOGUE_SERVER__OPEN": "true"}).server.open
    assert load(None, {"DUOLOGUE_SERVER__KEYS": ""}).server.keys == ()
    assert (settings.server.port, settings.server.host, settings.patience.barge_in_s) == (9001, "::1", 1.0)
    assert settings.patience.complete_s == Config().patience.complete_s


def test_engines_take_names_and_tables(tmp_path: Path) -> None:
    path = written(tmp_path, '[engines]\nspeakers = ["a", "b"]\n[engines.settings.a]\nspeed = 2\n')
    settings = load(path, {})
    assert settings.engines.speakers == ("a", "b")
    assert settings.engines.settings["a"]["speed"] == 2
    assert load(None, {"DUOLOGUE_ENGINES__SPEAKERS": "a,b"}).engines.speakers == ("a", "b")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[server]\nprot = 1\n", "unknown_setting"),
        ("[sevrer]\nport = 1\n", "unknown_setting"),
        ('[server]\nport = "many"\n', "bad_setting"),
        ("[server]\nport = true\n", "bad_setting"),
        ("[server]\nport = 1.5\n", "bad_setting"),
        ("[server]\nopen = 1\n", "bad_setting"),
        ('[server]\nopen = "yes"\n', "bad_setting"),
        ('[server]\nkeys = {a = "b"}\n', "bad_setting"),
        ("server = 1\n", "bad_setting"),
        ("[engines]\nspeakers = [1]\n", "bad_setting"),
        ('[patience]\ncomplete_s = "soon"\n', "bad_setting"),
        ('profile = "nobody"\n', "unknown_profile"),
        ("[server\n", "config_unreadable"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, code: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load(path, {})
    assert refused.value.code == code


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "missing.toml", {})
    assert refused.value.code == "config_unreadable"
    assert "missing.toml" in refused.value.message


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, {"DUOLOGUE_SERVER__PORT": "many"})
    assert "server.port" in refused.value.message
    with pytest.raises(ConfigError) as refused:
        load(None, {"DUOLOGUE_SERVER__PROT": "1"})
    assert refused.value.code == "unknown_setting"


def test_the_command_line_replaces_what_it_names() -> None:
    settings = override(Config(), "server", host=None, port=9000)
    assert (settings.server.host, settings.server.port) == (Config().server.host, 9000)


# ── Every option changes something ────────────────────────────────────────────────────────────────────────────────────


def speech_edges(settings: Config) -> Any:
    """Murmurs, clicks, words and dips, as voice activity has them."""
    probabilities = (
        [0.0] * 12 + [0.45] * 4 + [0.6] * 2 + [0.0] * 12 + [0.9] * 9 + [0.3] * 4 + [0.9] * 4 + [0.0] * 5 + [0.4] * 20
    )
    detector = SpeechDetector(settings.speech, 16_000)
    return [detector.feed(p, index * 512, index * 512 + 512) for index, p in enumerate(probabilities)]


def quiet_edges(settings: Config) -> Any:
    """A voice in a room, which the model never stops hearing: it dips, stops just so, far, and then only grows softer."""
    levels = [-50.0] * 40 + [-20.0] * 9 + [-45.0] * 2 + [-20.0] * 9 + [-43.0] * 12 + [-20.0] * 9 + [-55.0] * 20
    detector = SpeechDetector(settings.speech, 16_000)
    return [detector.feed(1.0, index * 512, index * 512 + 512, level) for index, level in enumerate(levels)]


def endings(settings: Config) -> Any:
    """When turns end and replies are prepared, for a speaker who pauses, and who by the opinion goes on."""
    seen: list[Any] = []
    for complete, words in ((0.05, "words"), (0.3, "words"), (0.9, "words"), (0.3, "is it so?")):
        turns = Turns(settings.patience)
        turns.handle(SpeechStarted(0, 0.0), 0.0)
        turns.handle(SpeechStopped(0.0), 1.0)
        turns.handle(SpeechStarted(0, 0.0), 1.9)
        turns.handle(SpeechStopped(0.0), 3.0)
        seen.append(turns.handle(Scored(turns.hearing, complete), 3.05))
        seen.append(turns.handle(Transcribed(turns.hearing, words, 1.0), 3.1))
        seen += [turns.handle(Scored(turns.hearing, complete), 3.0 + lasted_s) for lasted_s in (0.2, 0.3, 0.5)]
        while turns.wake_at is not None and turns.wake_at < 9.0:
            seen.append((turns.wake_at, turns.wake(turns.wake_at)))
    return seen


def turn_taking(settings: Config) -> Any:
    """When the machine wants to be woken, and what it does, in a talk that touches every patience."""
    turns = Turns(settings.patience)
    seen: list[Any] = [Evidence(share).wait_s(settings.patience) for share in (0.0, 1.0)]
    for index, pause_s in enumerate((0.2, 0.3)):
        at = 10.0 * index
        seen.append((turns.handle(SpeechStarted(0, 0.0), at), turns.wake_at))
        for take in range(6):
            hearing = turns.hearing
            seen.append((turns.handle(SpeechStopped(0.0), at + take + 0.5), turns.wake_at))
            seen.append((turns.handle(Transcribed(hearing, f"words {take}", 1.0), at + take + 0.6), turns.wake_at))
            if take < 5:
                seen.append((turns.handle(SpeechStarted(0, 0.0), at + take + 0.5 + pause_s), turns.wake_at))
        assert turns.wake_at is not None
        seen.append((turns.wake(turns.wake_at), turns.wake_at))
    return seen


def asked_again(settings: Config) -> Any:
    """How often the turn detector is asked in one pause, by one who does not know."""
    asked: list[int] = []

    def opinion(audio: Any, text: str) -> float:
        asked.append(len(audio))
        return 0.2

    play([(0.2, 1.2)], 4.0, engines=lineup(turn_detector=ScriptedTurnDetector(opinion)), config=settings)
    return len(asked)


def filled(settings: Config) -> Any:
    """How often the writer is asked to read ahead."""

    class Reads(ScriptedWriter):
        times = 0

        async def prefill(self, prompt: Prompt) -> None:
            Reads.times += 1

    play([(0.2, 1.2)], 4.0, engines=lineup(writer=Reads()), config=settings)
    return Reads.times


def talked_over(settings: Config) -> Any:
    """Speech over the reply at several moments: does the turn open again, do two words take the floor, how long is waited?"""
    seen: list[Any] = []
    for audible_at, speech_at in ((4.6, 5.2), (4.6, 5.6), (5.9, 6.1)):
        turns = Turns(replace(settings.patience, incomplete_s=1.5, ready_s=0.0))
        turns.handle(SpeechStarted(0, 0.0), 1.0)
        turns.handle(SpeechStopped(0.0), 3.0)
        turns.handle(Transcribed(Turn(1, 0), "hello", 1.0), 3.1)
        turns.wake(4.5)
        turns.handle(ReplyAudible(Turn(1, 0)), audible_at)
        turns.handle(SpeechStarted(0, 0.0), speech_at)
        seen.append(turns.wake_at)
        turns.handle(SpeechStopped(0.0), speech_at + 0.2)
        seen.append(turns.wake_at)
        seen.append([type(todo) for todo in turns.handle(Transcribed(Turn(2, 0), "Berlin", 1.0), speech_at + 0.3)])
    return seen


def overheard(settings: Config) -> Any:
    turns = Turns(settings.patience)
    before: list[tuple[Event, float]] = [
        (SpeechStarted(0, 0.0), 1.0),
        (SpeechStopped(0.0), 3.0),
        (Transcribed(Turn(1, 0), "hello", 1.0), 3.1),
    ]
    for event, now in before:
        turns.handle(event, now)
    turns.wake(9.0)
    turns.handle(SpeechStarted(0, 0.0), 9.5)
    return turns.handle(Overheard(Turn(2, 0), "Berlin please", 1.0), 9.6)


def listened(settings: Config) -> Any:
    """When the reply goes on after a listener's word."""
    turns = Turns(settings.patience)
    turns.handle(Typed("hello"), 1.0)
    turns.handle(SpeechStarted(0, 0.0), 2.0)
    turns.handle(SpeechStopped(0.0), 2.3)
    turns.handle(Transcribed(Turn(2, 0), "mm-hm", 1.0), 2.35)
    return turns.wake_at


def sent(settings: Config) -> Any:
    playout = Playout(settings.pacing, 1000)
    playout.push(bytes(8000))
    playout.resume(0.0)
    return [len(block.pcm) for block in playout.due(0.0)]


def may_speak(settings: Config) -> Any:
    """With so many seconds made: before the turn is decided, and after."""

    async def main() -> list[bool]:
        answers = []
        for released in (False, True):
            reply = Reply(Turn(1, 0), "", settings.pacing, 1000, lambda fact: None)
            if released:
                reply.release()
            for _ in range(16):
                reply.give(Sound(np.zeros(1000, np.float32), 1000))
                answers.append(reply.may_speak())
        return answers

    return virtual.run(main())


def pieces(settings: Config) -> Any:
    """A text cut while there is next to nothing, little, and enough sound in hand."""
    text = "Yes, of course we can do that for you now, and tomorrow as well if you want it, " * 5
    seen = []
    for in_hand_s in (0.0, 0.3, 0.5, 0.9, 1.5):
        clauses = Clauses(settings.cutting)
        for word in text.split(" "):
            clauses.push(word + " ")
            seen.append(clauses.take(in_hand_s))
    return seen


def prompts_and_styles(settings: Config) -> Any:
    """What the model and the voice are given in three turns, and what is kept."""
    seen: list[Any] = []

    class Pen(ScriptedWriter):
        async def write(self, prompt: Prompt) -> AsyncIterator[Any]:
            seen.append(list(prompt.messages))
            async for text in super().write(prompt):
                yield text

    class Voice(ScriptedSpeaker):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.about = replace(self.about, voices=frozenset({"amy"}))

        async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
            seen.append(style)
            async for sound in super().speak(text, style):
                yield sound

    engines = lineup(writer=Pen(replies=("Yes.",)), speakers=(Voice(),))
    typed = [(float(at), Type(f"number {at}")) for at in range(7)]
    dialogue = play([], 8, engines=engines, config=settings, commands=[*typed, (7.5, Export())])
    return seen, [fact.conversation["total_turns"] for fact in dialogue.of(Exported)]


def let_in_while_busy(settings: Config) -> Any:
    """Whether a second one is let in where the voice works 40% of the time."""

    class Busy(Lane):
        def busy_s(self) -> float:
            return 0.4 * clock.now()

    async def main() -> bool:
        app = App(settings, lineup(lanes=(lane,)), names=lambda: "test")
        watching = asyncio.create_task(app.watch())
        app.open_session(lambda fact: None)
        await asyncio.sleep(20.0)
        watching.cancel()
        try:
            app.open_session(lambda fact: None)
        except ClientError:
            return False
        return True

    lane = Busy("voice")
    try:
        return virtual.run(main())
    finally:
        lane.close()


def refused(settings: Config) -> Any:
    """How many sessions are let in."""

    async def main() -> int:
        app = App(settings, lineup(), names=lambda: "test")
        for count in range(30):
            try:
                app.open_session(lambda fact: None)
            except ClientError:
                return count
        return 30

    return virtual.run(main())


def longest_text(settings: Config) -> Any:
    async def main() -> list[str]:
        codes = []

        def ask(session: Any) -> None:
            for size in (10, 7_000, 9_000):
                try:
                    session.command(Type("x" * size))
                except ClientError as error:
                    codes.append(error.code)

        await converse([], 0.1, during=ask, config=settings)
        return codes

    return virtual.run(main())


def engine_limit(settings: Config) -> Any:
    class Stuck(ScriptedWriter):
        async def write(self, prompt: Prompt) -> AsyncIterator[Any]:
            await asyncio.Event().wait()
            yield None

    return play([], 25, engines=lineup(writer=Stuck()), config=settings, commands=[(0.1, Type("hello"))]).times(Failure)


def idle_limit(settings: Config) -> Any:
    async def main() -> list[float]:
        session = App(settings, lineup(), names=lambda: "test").open_session(lambda fact: None)
        await session.run()
        return [asyncio.get_running_loop().time()]

    return virtual.run(main())


def waited(settings: Config) -> Any:
    """How long the session of a lost connection waits."""

    class Gone:
        def tell(self, fact: Fact) -> None: ...

        def end(self, ending: Ending) -> None: ...

        cut = end

    async def main() -> float:
        app, held, line = App(settings, lineup(), names=lambda: "test"), None, Gone()
        held = Conversations(settings.limits.resume_s, lambda size: bytes(size))
        conversation = held.open(app.open_session, line, resumable=True)
        await conversation.begun.wait()
        conversation.leave(line, Ending(None, lost=True))
        await conversation.ended()
        return asyncio.get_running_loop().time()

    return virtual.run(main())


def let_in(settings: Config) -> Any:
    """Who comes in, with which key and from which page."""

    async def main() -> list[bool]:
        access = Access(settings.server, lambda size: bytes(size))
        pages = [access.allows(origin, "voice.example") for origin in ("https://voice.example", "https://app.example")]
        entered = []
        for key in ("the-first-of-two-keys", "the-second-of-two-keys"):
            try:
                access.enter(Headers({"api-key": key}))
                entered.append(True)
            except ClientError:
                entered.append(False)
        return pages + entered

    return virtual.run(main())


def keys_of(settings: Config) -> Any:
    try:
        return Access(settings.server, lambda size: bytes(size)).keyed
    except ConfigError as error:
        return error.code


def ice(settings: Config) -> Any:
    peer = pytest.importorskip("duologue.transports.rtc_peer", reason="needs duologue[webrtc]")
    return repr(peer._configuration(settings.webrtc).iceServers)


def loaded(settings: Config) -> Any:
    """Which engines are asked for, and with what settings."""
    asked: list[Any] = []

    def note(task: str, name: str, loading: Any) -> Any:
        asked.append((task, name, dict(loading.settings)))
        return ScriptedSpeaker()

    kept, registry.load = registry.load, note
    try:
        lineups.load(settings.engines, lambda name: Path(name)).close()
    finally:
        registry.load = kept
    return sorted(asked, key=str)


def profile(settings: Config) -> Any:
    try:
        return config.with_profile(settings, settings.profile)
    except ConfigError as error:
        return error.code


def store_root(settings: Config) -> Any:
    return models.open_store(settings.models).root


OPTIONS: dict[str, tuple[Any, Callable[[Config], Any] | str]] = {
    "profile": ("nobody", profile),
    "models": ("/somewhere", store_root),
    "speech.start_probability": (0.4, speech_edges),
    "speech.stop_probability": (0.2, speech_edges),
    "speech.start_s": (0.128, speech_edges),
    "speech.stop_s": (0.16, speech_edges),
    "speech.fall_s": (0.16, quiet_edges),
    "speech.fall_db": (15.0, quiet_edges),
    "speech.above_room_db": (20.0, quiet_edges),
    "speech.doubt_s": (0.6, quiet_edges),
    "speech.lead_in_s": (0.1, speech_edges),
    "patience.complete_s": (0.5, turn_taking),
    "patience.incomplete_s": (2.5, turn_taking),
    "patience.question": (0.1, endings),
    "patience.adapts": (False, endings),
    "patience.ready_s": (0.05, endings),
    "patience.draft_from": (0.4, endings),
    "patience.draft_after_s": (0.25, endings),
    "patience.barge_in_s": (1.2, talked_over),
    "patience.barge_in_words": (3, overheard),
    "patience.backchannel_s": (1.2, talked_over),
    "patience.resume_s": (0.2, listened),
    "patience.reopen_s": (0.5, talked_over),
    "patience.reopen_heard_s": (2.0, talked_over),
    "patience.longest_turn_s": (30.0, turn_taking),
    "patience.ask_again_s": (60.0, asked_again),
    "patience.drafts": (2, turn_taking),
    "pacing.lead_s": (0.3, sent),
    "pacing.block_s": (0.1, sent),
    "pacing.draft_s": (2.0, may_speak),
    "pacing.ahead_s": (6.0, may_speak),
    "cutting.shortest": (2, pieces),
    "cutting.hungry_s": (0.6, pieces),
    "cutting.starving_s": (0.2, pieces),
    "cutting.starving_words": (9, pieces),
    "cutting.longest": (60, pieces),
    "conversation.instructions": ("Be brief.", prompts_and_styles),
    "conversation.context_window": (2, prompts_and_styles),
    "conversation.max_history": (3, prompts_and_styles),
    "conversation.language": ("es", prompts_and_styles),
    "conversation.voice": ("amy", prompts_and_styles),
    "conversation.emotion": ("happy", prompts_and_styles),
    "conversation.intensity": (1.5, prompts_and_styles),
    "conversation.speed": (1.5, prompts_and_styles),
    "conversation.feelings": (False, "test_feelings.py::test_a_client_that_wants_none_of_it_is_left_alone"),
    "conversation.speakable": (False, "test_speakable.py::test_a_client_may_have_its_text_said_as_it_is_written"),
    "conversation.language_from_speech": (False, "test_languages.py::test_following_what_is_heard_can_be_switched_off"),
    "conversation.language_from_text": (False, "test_languages.py::test_following_what_is_typed_can_be_switched_off"),
    "conversation.language_to_model": (False, "test_languages.py::test_telling_the_model_can_be_switched_off"),
    "conversation.feelings_from_words": (False, "test_feelings.py::test_without_words_the_sound_is_still_felt"),
    "conversation.feelings_from_sound": (False, "test_feelings.py::test_without_sound_the_words_are_still_felt"),
    "conversation.feelings_carried": (0.0, "test_feelings.py::test_a_mood_lasts_as_much_as_is_wanted"),
    "conversation.feelings_to_voice": (False, "test_feelings.py::test_with_an_even_voice_the_model_is_still_told"),
    "conversation.feelings_to_model": (False, "test_feelings.py::test_with_the_model_not_told_the_voice_still_answers"),
    "limits.sessions": (3, refused),
    "limits.busy": (0.5, let_in_while_busy),
    "limits.text_chars": (5_000, longest_text),
    "limits.message_bytes": (0, "test_websocket.py::test_a_message_over_the_limit_closes_the_socket"),
    "limits.upload_bytes": (0, "test_openai_transcriptions.py::test_an_upload_that_is_too_large_is_refused"),
    "limits.outbox_bytes": (0, "test_websocket.py::test_a_client_that_stops_reading_is_disconnected"),
    "limits.engine_s": (5.0, engine_limit),
    "limits.idle_s": (60.0, idle_limit),
    "limits.session_s": (60.0, idle_limit),
    "limits.resume_s": (5.0, waited),
    "server.host": ("", "test_server.py::test_an_address_that_is_not_ours"),
    "server.port": (0, "test_server.py::test_a_taken_port_is_said_before_any_model_is_loaded"),
    "server.traces": ("", "test_app.py::test_each_session_leaves_a_trace_in_the_folder_that_is_named"),
    "server.keys": (("the-first-of-two-keys",), let_in),
    "server.keys_file": ("/nowhere", keys_of),
    "server.origins": (("https://app.example",), let_in),
    "server.open": (True, "test_server.py::test_beyond_loopback_it_listens_only_with_a_key_or_when_it_is_told_to"),
    "server.tls_certificate": ("", "test_server.py::test_with_a_certificate_it_speaks_https_and_wss"),
    "server.tls_key": ("", "test_server.py::test_with_a_certificate_it_speaks_https_and_wss"),
    "realtime.lead_s": (0.5, "test_realtime_routes.py::test_a_socket_of_the_realtime_api_gets_sound_at_its_own_lead"),
    "webrtc.udp_ports": (
        "",
        "test_rtc_sdp.py::test_only_ports_of_the_range_are_used_and_a_full_range_is_a_full_server",
    ),
    "webrtc.advertise": ((), "test_rtc_sdp.py::test_clients_are_told_the_advertised_addresses"),
    "webrtc.stun_url": ("stun:stun.example:3478", ice),
    "webrtc.turn_url": ("turn:turn.example:3478", ice),
    "webrtc.turn_username": ("", "test_config.py::test_the_relay_is_asked_as_somebody"),
    "webrtc.turn_password": ("", "test_config.py::test_the_relay_is_asked_as_somebody"),
    "webrtc.connect_s": (0.0, "test_webrtc.py::test_a_client_that_never_connects_is_dropped"),
    "engines.vad": ("other", loaded),
    "engines.turn_detector": ("other", loaded),
    "engines.recognizer": ("other", loaded),
    "engines.writer": ("other", loaded),
    "engines.speakers": (("other",), loaded),
    "engines.fetch": (False, "test_lineup.py::test_an_engine_may_fetch_only_where_the_configuration_allows_it"),
    "engines.prefill": (False, filled),
    "engines.places": ({}, "test_environments.py::test_a_place_goes_before_an_installed_environment"),
    "engines.environments": ("", "test_environments.py::test_an_engine_with_an_environment_runs_in_it"),
    "engines.cpu_wheels": ("", "test_environments.py::test_without_a_gpu_torch_comes_from_the_index_of_cpu_builds"),
    "feelings.wait_s": (0.3, "test_feelings.py::test_how_long_a_reply_waits_is_the_configurations"),
    "feelings.policy": ({}, "test_feelings.py::test_the_policy_is_the_configurations"),
    "engines.emotion": ("other", loaded),
    "engines.settings": ({"silero": {"a": 1}}, loaded),
}
"""Another value than the default, and what must come out differently with it (or the test of it that stands elsewhere)."""


def options(settings: Any = None, path: str = "") -> Iterator[str]:
    settings = Config() if settings is None else settings
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        if is_dataclass(value):
            yield from options(value, f"{path}{entry.name}.")
        else:
            yield path + entry.name


def with_option(name: str, value: Any) -> Config:
    group, _, option = name.rpartition(".")
    if not group:
        return replace(Config(), **{option: value})
    return replace(Config(), **{group: replace(getattr(Config(), group), **{option: value})})


def test_every_option_is_here() -> None:
    assert set(options()) == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_changes_something(name: str) -> None:
    value, observe = OPTIONS[name]
    if isinstance(observe, str):
        file, _, function = observe.partition("::")
        assert f"def {function}(" in (Path(__file__).parent / file).read_text(encoding="utf-8")
        return
    assert observe(with_option(name, value)) != observe(Config()), f"{name} does nothing"
    assert observe(Config()) == observe(Config())


def test_the_relay_is_asked_as_somebody() -> None:
    relay = Rtc(turn_url="turn:turn.example:3478", turn_username="duologue", turn_password="secret-of-the-relay")
    told = ice(replace(Config(), webrtc=relay))
    assert "duologue" in told
    assert "secret-of-the-relay" in told


def test_every_option_has_its_reason_beside_it() -> None:
    for group in (config.Limits, config.Server, config.Realtime, config.Rtc, config.Feelings, config.Config):
        for line in inspect.getsource(group).splitlines():
            if (
                re.search(r": (int|float|str|bool|tuple\[str, ...\]) =", line)
                and "port" not in line
                and "turn_" not in line
            ):
                assert "#" in line, line
