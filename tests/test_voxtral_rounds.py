"""Places are given in order, and a round takes everybody who asks, comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from duologue.engines.voxtral_rounds import Places, Rounds
from duologue.errors import EngineError
from duologue.places.thread import Lane


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("rounds")
    yield lane
    lane.close()


def test_more_answers_than_places_wait_in_order_and_too_many_are_refused() -> None:
    async def main() -> list[int]:
        places, order = Places(1, 2), []
        release = asyncio.Event()

        async def one(number: int) -> None:
            async with places.one():
                order.append(number)
                await release.wait()

        tasks = [asyncio.create_task(one(number)) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(EngineError) as error:
            await one(3)
        assert error.value.code == "engine_overloaded"
        tasks[1].cancel()
        release.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with places.one():
            order.append(4)
        return order

    assert asyncio.run(main()) == [0, 2, 4]


class Counter:
    """Gives each name its own count; keeps who was in each round."""

    def __init__(self, fails_at: int = -1) -> None:
        self.rounds: list[str] = []
        self._counts: dict[str, int] = {}
        self._fails_at = fails_at

    def advance(self, names: Sequence[str]) -> list[int]:
        self.rounds.append("".join(sorted(names)))
        if len(self.rounds) == self._fails_at:
            raise RuntimeError("no memory")
        for name in names:
            self._counts[name] = self._counts.get(name, 0) + 1
        return [self._counts[name] for name in names]


def test_all_that_ask_are_in_one_round_and_each_gets_its_own(lane: Lane) -> None:
    counter = Counter()
    rounds = Rounds(lane, counter.advance)

    async def one(name: str, times: int) -> list[int]:
        return [await rounds.next(name) for _ in range(times)]

    async def main() -> list[list[int]]:
        return [*await asyncio.gather(one("a", 5), one("b", 3), one("c", 9))]

    assert asyncio.run(main()) == [[*range(1, 6)], [*range(1, 4)], [*range(1, 10)]]
    assert counter.rounds == ["abc"] * 3 + ["ac"] * 2 + ["c"] * 4


def test_who_comes_later_joins_and_who_is_cancelled_leaves(lane: Lane) -> None:
    counter = Counter()
    rounds = Rounds(lane, counter.advance)

    async def one(name: str, times: int) -> None:
        for _ in range(times):
            await rounds.next(name)

    async def main() -> None:
        long = asyncio.create_task(one("a", 30))
        while len(counter.rounds) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        other = asyncio.create_task(one("b", 1_000))
        while "ab" not in counter.rounds:  # noqa: ASYNC110
            await asyncio.sleep(0)
        other.cancel()
        await long

    asyncio.run(main())
    assert counter.rounds[:3] == ["a"] * 3
    assert counter.rounds[-1] == "a"
    assert len(counter.rounds) == 30


def test_a_failure_is_told_to_all_in_the_round_and_the_next_one_is_held(lane: Lane) -> None:
    counter = Counter(fails_at=2)
    rounds = Rounds(lane, counter.advance)

    async def one(name: str) -> int:
        await rounds.next(name)
        with pytest.raises(RuntimeError, match="no memory"):
            await rounds.next(name)
        return await rounds.next(name)

    async def main() -> list[int]:
        return [*await asyncio.gather(one("a"), one("b"))]

    assert asyncio.run(main()) == [2, 2]
    assert counter.rounds == ["ab"] * 3


def test_nothing_is_left_when_nobody_asks_and_another_loop_may_go_on(lane: Lane) -> None:
    rounds = Rounds(lane, Counter().advance)

    async def main() -> int:
        count = await rounds.next("a")
        await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks()) == 1
        return count

    async def broken_off() -> None:
        asyncio.create_task(rounds.next("a"))
        await asyncio.sleep(0)

    assert asyncio.run(main()) == 1
    asyncio.run(broken_off())
    assert asyncio.run(main()) >= 2
