"""The command line: parses, loads the settings once, and hands over to one function a command.

A `ConfigError` becomes one line on stderr and exit status 2; Ctrl-C becomes exit status 130. Never a traceback.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from duologue import __version__, config
from duologue.errors import DuologueError
from duologue.models import command as models


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        status: int = args.run(args, config.load(args.config))
    except DuologueError as error:
        print(f"duologue: {error.message} [{error.code}]", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="duologue", description="Talk with a language model aloud, on your own machine."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML; the environment goes before it")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve the page and the protocols")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (default 8080)")
    serve.set_defaults(run=_serve)
    models.add_parser(commands)
    return parser


def _serve(args: argparse.Namespace, settings: config.Config) -> int:
    from duologue.serving import run  # the engines' libraries are heavy, and other commands do without them

    asyncio.run(run(config.override(settings, "server", host=args.host, port=args.port)))
    return 0
