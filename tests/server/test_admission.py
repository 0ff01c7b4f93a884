"""Slots and the queue: bounded, fair between clients, and never forgotten by those who give up."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from loquor.server.admission import Admission
from loquor.server.keys import Client
from loquor.server.refusals import RefusedError

ADA, BOB = Client("ada"), Client("bob")


class Party:
    """Requests that hold their slot until they are told to go, and what became of them."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.inside: list[str] = []
        self.places: dict[str, list[int]] = {}
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, client: Client = ADA) -> None:
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._stay(name, client))
        await settle()

    async def _stay(self, name: str, client: Client) -> None:
        async with self.admission.slot(client, self.places.setdefault(name, []).append):
            self.inside.append(name)
            await self.ends[name].wait()
        self.inside.remove(name)

    async def go(self, name: str) -> None:
        self.ends[name].set()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_first_come_first_served_and_everybody_knows_their_place() -> None:
    async def scene() -> None:
        party = Party(Admission(slots=2, queue=8, patience_s=60))
        for name in "abcde":
            await party.come(name)
        assert party.inside == ["a", "b"]
        await party.go("a")
        await party.go("b")
        assert party.inside == ["c", "d"]
        await party.go("c")
        assert party.places == {"a": [], "b": [], "c": [1], "d": [2, 1], "e": [3, 2, 1]}
        for name in "de":
            await party.go(name)
        assert not party.admission.running and not party.admission.waiting
        await asyncio.wait_for(party.admission.empty(), 1)

    asyncio.run(scene())


def test_a_client_with_many_requests_does_not_keep_another_one_out() -> None:
    async def scene() -> None:
        party = Party(Admission(slots=1, queue=8, patience_s=60))
        for name in ("a1", "a2", "a3"):
            await party.come(name)
        await party.come("b1", BOB)
        assert party.places["b1"] == [1]
        await party.go("a1")
        assert party.inside == ["b1"]
        await party.come("b2", BOB)
        assert party.places["a2"][-1] == 1
        await party.go("b1")
        assert party.inside == ["a2"]
        await party.go("a2")
        assert party.inside == ["b2"]
        for name in ("b2", "a3"):
            await party.go(name)

    asyncio.run(scene())


def test_who_gives_up_leaves_the_queue_and_those_behind_move_up() -> None:
    async def scene() -> None:
        party = Party(Admission(slots=1, queue=8, patience_s=60))
        for name in "abc":
            await party.come(name)
        party.tasks["b"].cancel()
        await settle()
        assert party.places["c"] == [2, 1] and len(party.admission.waiting) == 1
        party.tasks["a"].cancel()
        await settle()
        assert len(party.admission.running) == 1 and "c" in party.inside
        await party.go("c")
        assert not party.admission.running

    asyncio.run(scene())


def test_one_who_gives_up_in_the_moment_of_being_admitted_leaves_no_slot_taken() -> None:
    async def scene() -> None:
        party = Party(Admission(slots=1, queue=8, patience_s=60))
        await party.come("a")
        await party.come("b")
        party.ends["a"].set()
        while not party.admission.running or party.admission.running[0].position != 1:
            await asyncio.sleep(0)  # until b is let in, though b does not know it yet
        party.tasks["b"].cancel()
        await settle()
        assert not party.admission.running and not party.admission.waiting

    asyncio.run(scene())


def test_a_full_queue_a_limit_and_a_closed_door_are_told_apart() -> None:
    async def scene() -> None:
        admission, few = Admission(slots=1, queue=1, patience_s=60), Client("few", at_once=1)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(admission.slot(few))
            with pytest.raises(RefusedError, match="more than 1 requests at once") as own:
                await stack.enter_async_context(admission.slot(few))
            waiting = asyncio.create_task(admission.slot(ADA).__aenter__())
            await settle()
            with pytest.raises(RefusedError, match="1 requests wait already") as full:
                await stack.enter_async_context(admission.slot(BOB))
            admission.close()
            with pytest.raises(RefusedError, match="shutting down") as closed:
                await stack.enter_async_context(admission.slot(BOB))
            waiting.cancel()
        assert (own.value.is_theirs, full.value.is_theirs, closed.value.is_theirs) == (True, False, False)
        assert all(1 <= error.value.retry_after_s <= 60 for error in (own, full, closed))

    asyncio.run(scene())


def test_nobody_waits_longer_than_they_should() -> None:
    async def scene() -> None:
        admission = Admission(slots=1, queue=1, patience_s=0.01)
        async with admission.slot(ADA):
            with pytest.raises(RefusedError, match="no slot was free within"):
                await admission.slot(BOB).__aenter__()
        assert not admission.waiting

    asyncio.run(scene())
