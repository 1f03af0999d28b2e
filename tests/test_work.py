"""Tasks by name: one of each."""

from __future__ import annotations

import asyncio

import virtual

from duologue.work import Work


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
            work = Work(group)
            work.start("a", note(done, "first"))
            await asyncio.sleep(0.5)
            work.start("a", note(done, "second"))
            work.start("b", note(done, "other"))
        return done

    assert virtual.run(main()) == ["first cancelled", "second", "other"]


def test_cancelling_takes_those_named_or_all() -> None:
    async def main() -> list[str]:
        done: list[str] = []
        async with asyncio.TaskGroup() as group:
            work = Work(group)
            for name in ("a", "b", "c"):
                work.start(name, note(done, name))
            await asyncio.sleep(0.1)
            work.cancel("a", "unknown")
            await asyncio.sleep(0.1)
            assert done == ["a cancelled"]
            work.cancel()
        return done

    assert virtual.run(main()) == ["a cancelled", "b cancelled", "c cancelled"]


def test_a_task_may_cancel_itself() -> None:
    async def main() -> list[str]:
        done: list[str] = []

        async with asyncio.TaskGroup() as group:
            work = Work(group)

            async def itself() -> None:
                work.cancel("self")
                done.append("runs to its next await")
                await asyncio.sleep(0)
                done.append("and no further")

            work.start("self", itself())
        return done

    assert virtual.run(main()) == ["runs to its next await"]
