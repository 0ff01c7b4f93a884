"""Slots and the queue: bounded, fair between clients, and never forgotten by those who give up."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.server.admission import Admission
from loquor.server.keys import ANONYMOUS, Client, anonymous
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


# A full queue is shared


async def refusal(party: Party, name: str) -> RefusedError:
    """Why a request was sent away."""
    await settle()
    error = party.tasks[name].exception()
    assert isinstance(error, RefusedError)
    return error


def test_a_client_alone_may_fill_the_queue_and_gives_up_its_newest_places_to_others() -> None:
    async def scene() -> None:
        party = Party(Admission(slots=1, queue=4, patience_s=60))
        for name in ("a0", "a1", "a2", "a3", "a4"):
            await party.come(name)
        await party.come("b1", BOB)
        lost = await refusal(party, "a4")
        assert lost.is_theirs and lost.retry_after_s >= 1 and "your newest lost its place" in str(lost)
        await party.come("b2", BOB)
        assert (await refusal(party, "a3")).is_theirs
        assert {ticket.client.name for ticket in party.admission.waiting} == {"ada", "bob"}
        assert len(party.admission.waiting) == 4
        for name in ("a0", "b1", "a1", "b2", "a2"):
            assert party.inside == [name]
            await party.go(name)

    asyncio.run(scene())


def test_who_has_a_fair_share_of_a_full_queue_gets_no_more_of_it() -> None:
    async def scene() -> None:
        party = Party(Admission(slots=1, queue=4, patience_s=60))
        for name, client in (("a0", ADA), ("a1", ADA), ("a2", ADA), ("b1", BOB), ("b2", BOB)):
            await party.come(name, client)
        for name, client in (("a3", ADA), ("b3", BOB)):
            await party.come(name, client)
            refused = await refusal(party, name)
            assert refused.is_theirs and "2 of its 4 places are yours: 2 clients share them" in str(refused)
        await party.come("c1", Client("cleo"))
        assert len(party.admission.waiting) == 4 and party.places["c1"], "a third one still comes in"

    asyncio.run(scene())


@given(
    comings=st.lists(st.sampled_from("abcd"), max_size=60),
    queue=st.integers(1, 9),
)
def test_nobody_is_refused_within_an_equal_share_and_no_place_is_left_empty(comings: list[str], queue: int) -> None:
    async def scene() -> None:
        party = Party(Admission(slots=1, queue=queue, patience_s=60))
        await party.come("first", Client("somebody else"))
        for number, name in enumerate(comings):
            before = Counter(ticket.client.name for ticket in party.admission.waiting)
            await party.come(str(number), Client(name))
            after = Counter(ticket.client.name for ticket in party.admission.waiting)
            assert after.total() == min(queue, before.total() + 1)
            if after[name] == before[name]:  # refused, or its own newest gone
                assert (before[name] + 1) * len(before | Counter([name])) > queue
        for task in party.tasks.values():
            task.cancel()
        await asyncio.gather(*party.tasks.values(), return_exceptions=True)
        assert not party.admission.waiting and not party.admission.running

    asyncio.run(scene())


def test_every_refusal_is_noted_with_its_reason() -> None:
    async def scene() -> list[str]:
        reasons: list[str] = []
        party = Party(Admission(slots=1, queue=2, patience_s=60, noted=reasons.append))
        for name, client in (("a0", ADA), ("a1", ADA), ("a2", ADA), ("a3", ADA), ("b1", BOB), ("b2", BOB)):
            await party.come(name, client)
        await party.come("few1", Client("few", at_once=1))
        party.admission.close()
        await party.come("late", BOB)
        for task in party.tasks.values():
            task.cancel()
        await asyncio.gather(*party.tasks.values(), return_exceptions=True)
        return reasons

    assert asyncio.run(scene()) == ["full", "share", "share", "full", "draining"]


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),  # who has one address of a /64 has all of it
        ("fe80::1%eth0", "fe80::2", "192.0.2.1"),
    ],
)
def test_without_keys_clients_are_told_apart_by_their_networks(address: str, same: str, other: str) -> None:
    assert anonymous(address).share == anonymous(same).share != anonymous(other).share
    assert anonymous(address).name == ANONYMOUS.name, "voices are everybody's"
    assert anonymous("testclient") is ANONYMOUS
