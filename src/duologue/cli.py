"""The command line: parses, loads the settings once, and hands over to one function a command.

A `DuologueError` becomes one line on stderr and exit status 2; Ctrl-C becomes exit status 130. Never a traceback. What each
command needs is imported when it runs: the engines' libraries are heavy, and most commands do without them.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from duologue import __version__, config
from duologue.errors import DuologueError
from duologue.models import command as models
from duologue.places import command as engines

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: list[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        status: int = args.run(args, config.load(args.config))
    except DuologueError as error:
        print(f"duologue: {error.message} [{error.code}]", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def parser() -> argparse.ArgumentParser:
    """Every command; each sets `run`, called with the arguments and the settings, which returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="duologue", description="Talk with a language model aloud, on your own machine."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML; the environment goes before it")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_serve, _add_talk, models.add_parser, engines.add_parser, _add_doctor, _add_replay):
        add(commands)
    return parser


def _add(commands: Commands, name: str, run: Callable[..., int], what: str, more: str = "") -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}. {more}".strip())
    command.set_defaults(run=run)
    return command


def _add_profile(command: argparse.ArgumentParser) -> None:
    names = ", ".join(config.PROFILES)
    command.add_argument("--profile", metavar="P", help=f"which set of engines and models: {names} (default: packaged)")


def _add_serve(commands: Commands) -> None:
    serve = _add(commands, "serve", _serve, "serve the page and the protocols")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (default 8080)")
    serve.add_argument("--keys-file", metavar="FILE", help="whoever connects must show a key out of it, one a line")
    serve.add_argument("--open", action="store_true", default=None, help="let anybody in, from other machines too")
    serve.add_argument("--tls-certificate", metavar="FILE", help="speak https and wss: PEM, the chain after it")
    serve.add_argument("--tls-key", metavar="FILE", help="the certificate's key, PEM")
    _add_profile(serve)


def _serve(args: argparse.Namespace, settings: config.Config) -> int:
    from duologue.serving import run

    settings = config.with_profile(settings, args.profile or settings.profile)
    names = ("host", "port", "keys_file", "open", "tls_certificate", "tls_key")
    asyncio.run(run(config.override(settings, "server", **{name: getattr(args, name) for name in names})))
    return 0


def _add_talk(commands: Commands) -> None:
    more = "The files are the user's turns of one conversation, streamed in real time; one may end without silence."
    talk = _add(commands, "talk", _talk, "talk from sound files or a microphone, without a server", more)
    talk.add_argument("files", nargs="*", type=Path, metavar="FILE", help="WAV, FLAC, OGG or MP3, any sample rate")
    talk.add_argument("--mic", action="store_true", help="use this machine's microphone instead; Ctrl-C ends")
    talk.add_argument("--out", type=Path, metavar="WAV", help="write the replies' sound, as far as it was played")
    talk.add_argument("--json", action="store_true", help="one JSON object a turn, one a line")
    _add_profile(talk)
    talk.set_defaults(usage_error=talk.error)


def _talk(args: argparse.Namespace, settings: config.Config) -> int:
    if args.mic == bool(args.files):
        args.usage_error("give sound files, or --mic")
    if args.mic and (args.json or args.out):
        args.usage_error("--json and --out are for sound files")
    from duologue import talk

    settings = config.with_profile(settings, args.profile or settings.profile)
    return talk.run_microphone(settings) if args.mic else talk.run(settings, args.files, args.out, args.json)


def _add_doctor(commands: Commands) -> None:
    more = "Exit status 0 if everything works that should, else 1."
    doctor = _add(commands, "doctor", _doctor, "say what is installed, and prove what works by running it", more)
    doctor.add_argument("--json", action="store_true", help="one JSON object")
    _add_profile(doctor)


def _doctor(args: argparse.Namespace, settings: config.Config) -> int:
    from duologue.doctor import run

    return run(config.with_profile(settings, args.profile or settings.profile), args.json)


def _add_replay(commands: Commands) -> None:
    more = "The server keeps traces where the setting server.traces names a folder."
    replay = _add(commands, "replay", _replay, "print a recorded session and where its milliseconds went", more)
    replay.add_argument("trace", type=Path, metavar="TRACE", help="a session's .trace.jsonl")


def _replay(args: argparse.Namespace, settings: config.Config) -> int:
    from duologue.replay import run

    return run(args.trace)


def reference() -> str:
    """The help of every command as Markdown, 80 columns wide: what docs/cli.md ends with."""
    return "\n".join(f"## {each.prog}\n\n```\n{_help(each)}```\n" for each in _with_commands(parser()))


def _with_commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _with_commands(command)


def _help(parser: argparse.ArgumentParser) -> str:
    def narrow(prog: str) -> Any:
        return argparse.HelpFormatter(prog, width=80)

    parser.formatter_class = narrow
    return parser.format_help()


if __name__ == "__main__":
    print(reference(), end="")
