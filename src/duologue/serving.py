"""A server process from start to end: take the port, load the engines, say so, serve, give everything back."""

from __future__ import annotations

import asyncio
import gc
import sys

from duologue import profiles
from duologue.app import App
from duologue.config import Config
from duologue.transports.server import serve


def keep_what_is_loaded() -> None:
    """What there is by now stays as long as the server does. Python's garbage collector would look at all of it whenever it looks
    at everything, and meanwhile everybody's sound is late: by 60 to 190 ms with 150 sessions."""
    gc.collect()
    gc.freeze()


async def run(config: Config) -> None:
    """Until SIGINT or SIGTERM. Raises `ConfigError` for whatever keeps it from starting."""
    app = App(config)

    async def warm() -> None:
        app.lineup = await asyncio.to_thread(profiles.load, config, pull=True)
        for warning in app.lineup.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        await app.rehearse()
        keep_what_is_loaded()
        tasks.append(asyncio.create_task(app.watch(), name="load"))

    tasks: list[asyncio.Task[None]] = []
    try:
        await serve(app, config, warm, lambda address: print(f"duologue is ready: {address}", flush=True))
    finally:
        for task in tasks:
            task.cancel()
        if app.lineup is not None:
            app.lineup.close()
