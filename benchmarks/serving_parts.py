"""The four parts of `serving.py`. Each takes what an earlier, interrupted run has of it, and yields more of it."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from serving_client import Ask, Reply, ServerProcess

LINES = Path(__file__).with_name("sentences.txt").read_text(encoding="utf-8").split("\n")[:50]
PASSAGES = [" ".join(LINES[start : start + 3]) for start in range(0, 48, 3)]  # some ten seconds each
WORDS = 3  # of a short request
AT_ONCE = 8  # streams whose throughput is compared with one
CROWD = 24  # clients of short requests, three times the slots
BLOCK = 500  # short requests between two looks at the memory
PATIENCE_S = 20.0  # for slots to become free after the last has hung up
Row = dict[str, Any]


async def streams(server: ServerProcess, count: int, seconds: float) -> Row:
    """So many listeners for so long, each asking for the next passage when one has been said."""
    replies, began = list[Reply](), time.perf_counter()
    missed = [0] * count

    async def listen(number: int) -> None:
        turn = 0
        await asyncio.sleep(random.Random(number).random())
        while time.perf_counter() - began < seconds:
            reply = await server.say(Ask(PASSAGES[(5 * number + turn) % len(PASSAGES)], seed=1000 * number + turn))
            require_whole(reply)
            replies.append(reply)
            missed[number] += reply.misses
            turn += 1

    await asyncio.gather(*map(listen, range(count)))
    firsts = sorted(1000 * reply.first_s for reply in replies)
    audio_s = sum(seconds for reply in replies for _, seconds in reply.arrivals)
    return {
        "streams": count,
        "requests": len(replies),
        "pieces": sum(len(reply.arrivals) for reply in replies),
        "misses": sum(missed),
        "streams_with_misses": sum(map(bool, missed)),
        "first_audio_ms": {"median": statistics.median(firsts), "p95": firsts[int(0.95 * (len(firsts) - 1))]},
        "audio_per_wall_s": audio_s / (time.perf_counter() - began),
        "load": os.getloadavg()[0],
    }


async def throughput(server: ServerProcess, number: int) -> Row:
    """A round: the same passages one at a time and eight at once, the one that comes first changing from round to
    round."""
    asks = [Ask(text, seed=number) for text in PASSAGES[:AT_ONCE]]
    walls = dict[str, float]()
    for way in ("alone", "together") if number % 2 else ("together", "alone"):
        began = time.perf_counter()
        if way == "alone":
            replies = [await server.say(ask) for ask in asks]
        else:
            replies = await asyncio.gather(*map(server.say, asks))
        walls[way] = time.perf_counter() - began
        for reply in replies:
            require_whole(reply)
    audio_s = sum(seconds for reply in replies for _, seconds in reply.arrivals)
    return {"audio_s": audio_s, **walls, "ratio": walls["alone"] / walls["together"], "load": os.getloadavg()[0]}


def short_asks() -> list[Ask]:
    return [Ask(" ".join(line.split()[:WORDS]) + ".", seed, 1.0 + seed % 3) for seed, line in enumerate(LINES)]


async def crowd(server: ServerProcess, asks: Sequence[Ask], workers: int = CROWD) -> list[Reply]:
    """Replies to all of them, so many clients asking at a time."""
    waiting, replies = list(enumerate(asks)), dict[int, Reply]()

    async def work() -> None:
        while waiting:
            number, ask = waiting.pop()
            replies[number] = await server.say(ask)

    await asyncio.gather(*(work() for _ in range(workers)))
    return [replies[number] for number in range(len(asks))]


def compared(replies: Sequence[Reply], alone: Sequence[Reply]) -> Row:
    """How replies differ from the same requests made alone. A piece that is lost, doubled or out of place shows as
    another length or as a large difference of samples."""
    whole = [(one, other) for one, other in zip(replies, alone, strict=True) if one.is_whole]
    same_length = [(one.samples, other.samples) for one, other in whole if len(one.pcm) == len(other.pcm)]
    steps = [int(np.abs(a.astype(np.int32) - b).max(initial=0)) for a, b in same_length]
    return {
        "requests": len(replies),
        "broken": len(replies) - len(whole),
        "other_length": len(whole) - len(same_length),
        "bit_equal": steps.count(0),
        "largest_step": max(steps, default=0),  # of 16-bit samples
    }


async def requests(server: ServerProcess, done: int, total: int, session: int) -> AsyncIterator[Row]:
    """Blocks of short requests, until there are `total` with those `done`."""
    asks, rng, block = short_asks()[: max(AT_ONCE, total // 20)], random.Random(done), min(BLOCK, total)
    alone = [await server.say(ask) for ask in asks]
    for reply in alone:
        require_whole(reply)
    chosen = [rng.randrange(len(asks)) for _ in range(block)]
    await crowd(server, [asks[number] for number in chosen])  # all buffers have their size from here on
    yield {"session": session, "requests": 0, "rss_mib": server.rss_mib}
    while done < total:
        chosen = [rng.randrange(len(asks)) for _ in range(min(block, total - done))]
        replies = await crowd(server, [asks[number] for number in chosen])
        row = compared(replies, [alone[number] for number in chosen])
        done += len(chosen)
        yield {"session": session, **row, "rss_mib": server.rss_mib}


async def disconnects(server: ServerProcess, total: int) -> AsyncIterator[Row]:
    """Clients that hang up at any moment; afterwards all slots are free and speech is as before."""
    asks = short_asks()[:AT_ONCE]
    before = [await server.say(ask) for ask in asks]
    for reply in before:
        require_whole(reply)
    rng, left = random.Random(0), total

    async def leave(moment: float) -> None:
        """At once, after some pieces, or after some time: in the queue, or between two pieces."""
        ask = Ask(PASSAGES[rng.randrange(len(PASSAGES))], rng.randrange(1000))
        if moment < 0.4:
            await server.say(ask, most_pieces=1 + rng.randrange(8))
            return
        async with server.asked(ask):
            if moment > 0.5:
                await asyncio.sleep(rng.random())

    while left:
        count = min(50, left)
        waiting = [rng.random() for _ in range(count)]

        async def work(waiting: list[float] = waiting) -> None:
            while waiting:
                await leave(waiting.pop())

        await asyncio.gather(*(work() for _ in range(CROWD)))
        left -= count
        yield {"disconnects": count}
    began = time.perf_counter()
    while (health := await server.health())["in_use"] or health["queue"]:
        if time.perf_counter() - began > PATIENCE_S:
            break
        await asyncio.sleep(0.02)
    free_after_s = time.perf_counter() - began
    after = [await server.say(ask) for ask in asks]
    yield {
        "disconnects": 0,
        "in_use": health["in_use"],
        "queue": health["queue"],
        "free_after_s": free_after_s,
        "speech": compared(after, before),
    }


def require_whole(reply: Reply) -> None:
    if not reply.is_whole:
        raise SystemExit(f"a request broke off: status {reply.status} {reply.error}")
