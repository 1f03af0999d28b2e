"""A server process from start to end: take the port, load the engines, say so, serve, give everything back."""

from __future__ import annotations

import asyncio
import sys

from duologue import profiles
from duologue.app import App
from duologue.config import Config
from duologue.transports.server import serve


async def run(config: Config) -> None:
    """Until SIGINT or SIGTERM. Raises `ConfigError` for whatever keeps it from starting."""
    app = App(config)

    async def warm() -> None:
        app.lineup = await asyncio.to_thread(profiles.load, config, pull=True)
        for warning in app.lineup.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        await app.rehearse()
        tasks.append(asyncio.create_task(app.watch(), name="load"))

    tasks: list[asyncio.Task[None]] = []
    try:
        await serve(app, config, warm, lambda address: print(f"duologue is ready: {address}", flush=True))
    finally:
        for task in tasks:
            task.cancel()
        if app.lineup is not None:
            app.lineup.close()
