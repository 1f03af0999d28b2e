"""Tasks by name: one of each."""

from __future__ import annotations

import asyncio

import virtual

from duologue.core.events import Turn
from duologue.errors import EngineError
from duologue.work import Cause, Work


class Something:
    turn = Turn(1, 0)


def unexpected(cause: Cause, code: str, message: str) -> None:
    raise AssertionError(f"{code}: {message}")


async def note(done: list[str], name: str) -> None:
    try:
        await asyncio.sleep(1.0)
        done.append(name)
    except asyncio.CancelledError:
        done.append(f"{name} cancelled")
        raise


def test_a_new_task_takes_the_place_of_the_old_one_of_its_name() -> None:
    async def main() -> list[str]:
        done: list[str] = []
        async with asyncio.TaskGroup() as group:
            work = Work(group, unexpected)
            work.start("a", Something(), note, done, "first")
            await asyncio.sleep(0.5)
            work.start("a", Something(), note, done, "second")
            work.start("b", Something(), note, done, "other")
        return done

    assert virtual.run(main()) == ["first cancelled", "second", "other"]


def test_cancelling_takes_those_named_or_all() -> None:
    async def main() -> list[str]:
        done: list[str] = []
        async with asyncio.TaskGroup() as group:
            work = Work(group, unexpected)
            for name in ("a", "b", "c"):
                work.start(name, Something(), note, done, name)
            await asyncio.sleep(0.1)
            work.cancel("a", "unknown")
            await asyncio.sleep(0.1)
            assert done == ["a cancelled"]
            work.cancel()
        return done

    assert virtual.run(main()) == ["a cancelled", "b cancelled", "c cancelled"]


def test_what_is_cancelled_before_its_first_step_does_nothing() -> None:
    async def main() -> list[str]:
        done: list[str] = []
        async with asyncio.TaskGroup() as group:
            work = Work(group, unexpected)
            work.start("a", Something(), note, done, "replaced")
            work.start("a", Something(), note, done, "second")
            work.start("b", Something(), note, done, "cancelled")
            work.cancel("b")
        return done

    assert virtual.run(main()) == ["second"]


def test_a_task_may_cancel_itself() -> None:
    async def main() -> list[str]:
        done: list[str] = []

        async with asyncio.TaskGroup() as group:
            work = Work(group, unexpected)

            async def itself() -> None:
                work.cancel("self")
                done.append("runs to its next await")
                await asyncio.sleep(0)
                done.append("and no further")

            work.start("self", Something(), itself)
        return done

    assert virtual.run(main()) == ["runs to its next await"]


def test_what_goes_wrong_is_told_with_its_cause_and_the_others_go_on() -> None:
    cause = Something()

    async def fails(error: Exception) -> None:
        await asyncio.sleep(0.1)
        raise error

    async def main() -> tuple[list[str], list[tuple[Cause, str]]]:
        done: list[str] = []
        failed: list[tuple[Cause, str]] = []
        async with asyncio.TaskGroup() as group:
            work = Work(group, lambda cause, code, message: failed.append((cause, code)))
            work.start("a", cause, fails, EngineError("voice", "broke", code="engine_broken"))
            work.start("b", cause, fails, ValueError("a bug"))
            work.start("c", cause, note, done, "other")
        return done, failed

    assert virtual.run(main()) == (["other"], [(cause, "engine_broken"), (cause, "internal_error")])
