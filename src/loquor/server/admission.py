"""Who may speak now, who waits, who is sent away: a number of slots, and a queue in front of them that is short.

A queue that nobody leaves in time only makes everybody late, so it is bounded, and so is the wait in it. Who comes next
is whoever's key has the fewest slots, and of those the one that had its last slot longest ago: one client with many
requests does not keep another one out.
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


@dataclass(eq=False)
class Ticket:
    """A request that waits for a slot, or has one."""

    client: Client
    told: Callable[[int], None] | None  # of its place in the queue, 1 is next, whenever that changes
    came: float
    admitted: asyncio.Event = field(default_factory=asyncio.Event)
    position: int = 0  # told last
    admitted_at: float = 0.0

    @property
    def waited_s(self) -> float:
        """In the queue, once it is admitted."""
        return self.admitted_at - self.came


class Admission:
    """Belongs to one event loop."""

    def __init__(self, slots: int, queue: int, patience_s: float) -> None:
        self.slots, self.queue, self.patience_s = slots, queue, patience_s
        self.running: list[Ticket] = []
        self.waiting: list[Ticket] = []
        self.is_open = True
        self._held_s = FIRST_GUESS_S
        self._served: dict[str, int] = {}  # client names to the number of the slot they were given last
        self._given = 0  # slots so far
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def slot(self, client: Client, told: Callable[[int], None] | None = None) -> AsyncIterator[Ticket]:
        """A slot, until the block ends; `told` hears of the place in the queue. RefusedError if none is free."""
        self._require_room(client)
        ticket = Ticket(client, told, time.perf_counter())
        self.waiting.append(ticket)
        self._empty.clear()
        try:
            self._move_up()
            try:
                async with asyncio.timeout(self.patience_s):
                    await ticket.admitted.wait()
            except TimeoutError:
                raise RefusedError(
                    f"no slot was free within {self.patience_s:g} s: {len(self.waiting) - 1} others wait",
                    self.retry_after_s,
                    "try again later",
                ) from None
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

    def _require_room(self, client: Client) -> None:
        if not self.is_open:
            raise RefusedError("the server is shutting down", LEAST_RETRY_S, "try again in a moment")
        theirs = sum(ticket.client.name == client.name for ticket in (*self.running, *self.waiting))
        if client.at_once is not None and theirs >= client.at_once:
            hint = "let one of them end first"
            raise RefusedError(f"more than {client.at_once} requests at once", self.retry_after_s, hint, is_theirs=True)
        if len(self.running) >= self.slots and len(self.waiting) >= self.queue:
            raise RefusedError(
                f"all {self.slots} slots speak, and {len(self.waiting)} requests wait already",
                self.retry_after_s,
                "try again later",
            )

    def _order(self) -> list[Ticket]:
        """Those who wait, next first."""
        held = Counter(ticket.client.name for ticket in self.running)
        turns = dict[Ticket, int]()
        for ticket in self.waiting:
            turns[ticket] = held[ticket.client.name]
            held[ticket.client.name] += 1
        return sorted(self.waiting, key=lambda ticket: (turns[ticket], self._served.get(ticket.client.name, 0)))

    def _move_up(self) -> None:
        """Fill the free slots, and tell the others where they are."""
        while self.waiting and len(self.running) < self.slots:
            ticket = self._order()[0]
            self.waiting.remove(ticket)
            self.running.append(ticket)
            self._given += 1
            self._served[ticket.client.name] = self._given
            ticket.admitted_at = time.perf_counter()
            ticket.admitted.set()
        for place, ticket in enumerate(self._order(), start=1):
            if place != ticket.position:
                ticket.position = place
                if ticket.told:
                    ticket.told(place)

    def _let_go(self, ticket: Ticket) -> None:
        """It has ended, or given up waiting."""
        if ticket in self.running:
            self.running.remove(ticket)
            held_s = time.perf_counter() - ticket.admitted_at
            self._held_s = MEMORY * self._held_s + (1 - MEMORY) * held_s
        else:
            self.waiting.remove(ticket)
        self._move_up()
        if not self.running and not self.waiting:
            self._empty.set()
