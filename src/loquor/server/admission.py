"""Who may speak now, who waits, who is sent away: a number of slots, and a queue in front of them that is short.

A queue that nobody leaves in time only makes everybody late, so it is bounded, and so is the wait in it. Who comes next
is whichever client has the fewest slots, and of those the one that had its last slot longest ago. A client may take
every place of the queue while no other wants one; whoever has fewer gets theirs from the client with the most, whose
newest request goes (longest queue drop: Suter et al., INFOCOM 1998). So one client with many requests keeps no other
out, and of n clients each can have an n-th of the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from loquor.server.keys import Client
from loquor.server.refusals import RefusedError

LEAST_RETRY_S, MOST_RETRY_S = 1.0, 60.0
FIRST_GUESS_S = 5.0  # that a slot is held, before any was
MEMORY = 0.9  # of the mean of how long slots are held, per slot
THEIRS = ("at_once", "share")  # reasons of refusals that are of a client's own limit
CLIENTS_KEPT = 4096  # in mind, of those who had a slot: addresses are many


@dataclass(eq=False)
class Ticket:
    """A request that waits for a slot, or has one."""

    client: Client
    told: Callable[[int], None] | None  # of its place in the queue, 1 is next, whenever that changes
    came: float
    decided: asyncio.Event = field(default_factory=asyncio.Event)  # it is admitted, or refused
    refused: RefusedError | None = None
    position: int = 0  # told last
    admitted_at: float = 0.0

    @property
    def waited_s(self) -> float:
        """In the queue, once it is admitted."""
        return self.admitted_at - self.came


class Admission:
    """Belongs to one event loop."""

    def __init__(
        self, slots: int, queue: int, patience_s: float, noted: Callable[[str], object] = lambda reason: None
    ) -> None:
        """`noted` hears of every refusal: draining, at_once, full, share or patience."""
        self.slots, self.queue, self.patience_s, self._noted = slots, queue, patience_s, noted
        self.running: list[Ticket] = []
        self.waiting: list[Ticket] = []
        self.is_open = True
        self._held_s = FIRST_GUESS_S
        self._served: dict[str, int] = {}  # clients to the number of the slot they were given last
        self._given = 0  # slots so far
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def slot(self, client: Client, told: Callable[[int], None] | None = None) -> AsyncIterator[Ticket]:
        """A slot, until the block ends; `told` hears of the place in the queue. RefusedError if none is free."""
        self._make_room(client)
        ticket = Ticket(client, told, time.perf_counter())
        self.waiting.append(ticket)
        self._empty.clear()
        try:
            self._move_up()
            try:
                async with asyncio.timeout(self.patience_s):
                    await ticket.decided.wait()
            except TimeoutError:
                others = f"{len(self.waiting) - 1} others wait"
                raise self._refusal("patience", f"no slot was free within {self.patience_s:g} s: {others}") from None
            if ticket.refused:
                raise ticket.refused
            yield ticket
        finally:
            self._let_go(ticket)

    def close(self) -> None:
        """Let nobody in any more; those who wait or speak go on."""
        self.is_open = False

    async def empty(self) -> None:
        """Wait until nobody speaks or waits."""
        await self._empty.wait()

    @property
    def retry_after_s(self) -> float:
        """When a slot will probably be free for one more."""
        turns = (len(self.waiting) + 1) / self.slots
        return min(MOST_RETRY_S, max(LEAST_RETRY_S, turns * self._held_s))

    def _make_room(self, client: Client) -> None:
        """For one request more of a client; RefusedError if there is none for it."""
        if not self.is_open:
            raise self._refusal("draining", "the server is shutting down", "try again in a moment", LEAST_RETRY_S)
        theirs = sum(ticket.client.share == client.share for ticket in (*self.running, *self.waiting))
        if client.at_once is not None and theirs >= client.at_once:
            raise self._refusal("at_once", f"more than {client.at_once} requests at once", "let one of them end first")
        if len(self.running) < self.slots or len(self.waiting) < self.queue:
            return
        waiting = Counter(ticket.client.share for ticket in self.waiting)
        most = max(waiting, key=lambda share: waiting[share], default=client.share)
        if waiting[most] > waiting[client.share] + 1:
            self._turn_away(most)
        elif waiting[client.share] and len(waiting) > 1:
            message = f"the queue is full, and {waiting[client.share]} of its {self.queue} places are yours"
            raise self._refusal("share", f"{message}: {len(waiting)} clients share them", "let one of yours end first")
        else:
            message = f"all {self.slots} slots speak, and {len(self.waiting)} requests wait already"
            raise self._refusal("full", message)

    def _turn_away(self, share: str) -> None:
        """Take the newest request of a client out of the queue."""
        ticket = next(ticket for ticket in reversed(self.waiting) if ticket.client.share == share)
        message = "the queue is full, and a client with fewer requests in it came: your newest lost its place"
        ticket.refused = self._refusal("share", message, "let one of yours end first")
        self.waiting.remove(ticket)
        ticket.decided.set()

    def _refusal(
        self, reason: str, message: str, hint: str = "try again later", retry_after_s: float | None = None
    ) -> RefusedError:
        self._noted(reason)
        retry_after_s = self.retry_after_s if retry_after_s is None else retry_after_s
        return RefusedError(message, retry_after_s, hint, is_theirs=reason in THEIRS)

    def _order(self) -> list[Ticket]:
        """Those who wait, next first."""
        held = Counter(ticket.client.share for ticket in self.running)
        turns = dict[Ticket, int]()
        for ticket in self.waiting:
            turns[ticket] = held[ticket.client.share]
            held[ticket.client.share] += 1
        return sorted(self.waiting, key=lambda ticket: (turns[ticket], self._served.get(ticket.client.share, 0)))

    def _move_up(self) -> None:
        """Fill the free slots, and tell the others where they are."""
        while self.waiting and len(self.running) < self.slots:
            ticket = self._order()[0]
            self.waiting.remove(ticket)
            self.running.append(ticket)
            self._remember(ticket.client.share)
            ticket.admitted_at = time.perf_counter()
            ticket.decided.set()
        for place, ticket in enumerate(self._order(), start=1):
            if place != ticket.position:
                ticket.position = place
                if ticket.told:
                    ticket.told(place)

    def _remember(self, share: str) -> None:
        """Whose turn it was, last of all; who was there longest ago is forgotten."""
        self._given += 1
        self._served.pop(share, None)
        self._served[share] = self._given
        if len(self._served) > CLIENTS_KEPT:
            del self._served[next(iter(self._served))]

    def _let_go(self, ticket: Ticket) -> None:
        """It has ended, or given up waiting."""
        if ticket in self.running:
            self.running.remove(ticket)
            held_s = time.perf_counter() - ticket.admitted_at
            self._held_s = MEMORY * self._held_s + (1 - MEMORY) * held_s
        elif ticket in self.waiting:
            self.waiting.remove(ticket)
        self._move_up()
        if not self.running and not self.waiting:
            self._empty.set()
