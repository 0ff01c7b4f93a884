"""A server process, and a client that notes when each piece of speech comes: nothing between it and the socket."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE_HZ, SAMPLE_BYTES = 24_000, 2
RUN = "from loquor.cli.main import run; run()"
STOP_S = 90


@dataclass(frozen=True)
class Ask:
    """A request."""

    text: str
    seed: int = 0
    guidance: float | None = None


@dataclass
class Reply:
    """What came of it, and when, in seconds after it was sent."""

    status: int = 0
    pcm: bytes = b""
    arrivals: list[tuple[float, float]] = field(default_factory=list)  # when, and how much speech, in seconds
    is_whole: bool = False
    error: str = ""

    @property
    def first_s(self) -> float:
        return self.arrivals[0][0]

    @property
    def samples(self) -> NDArray[np.int16]:
        return np.frombuffer(self.pcm, dtype=np.int16)

    @property
    def misses(self) -> int:
        """Pieces that came after the ones before them had been played, by a listener who keeps nothing in hand."""
        missed, ends = 0, self.first_s
        for came, seconds in self.arrivals:
            missed += came > ends
            ends = max(came, ends) + seconds
        return missed


class ServerProcess:
    """`loquor serve` with these options, on a free port, until the block ends."""

    def __init__(self, *options: str, threads: int | None = None) -> None:
        environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
        command = [sys.executable, "-c", RUN, "serve", "--port", "0", "--audit-log", "off", *options]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def __enter__(self) -> ServerProcess:
        assert self._process.stdout
        for line in self._process.stdout:
            if found := re.search(r"http://([\d.]+):(\d+)", line):
                self.address = found[1], int(found[2])
                return self
        raise SystemExit("the server did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    @property
    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

    async def health(self) -> dict[str, Any]:
        async with self.connected("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as reader:
            return dict(json.loads((await reader.read()).split(b"\r\n\r\n", 1)[1]))

    @asynccontextmanager
    async def connected(self, request: str, body: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
        """A connection of its own for a request; leaving the block hangs up."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(request.encode() + body)
            await writer.drain()
            yield reader
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def asked(self, ask: Ask) -> AsyncIterator[asyncio.StreamReader]:
        wish = {"model": "loquor", "input": ask.text, "response_format": "pcm", "seed": ask.seed}
        if ask.guidance is not None:
            wish["cfg_scale"] = ask.guidance
        body = json.dumps(wish).encode()
        head = "POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        async with self.connected(f"{head}Content-Length: {len(body)}\r\n\r\n", body) as reader:
            yield reader

    async def say(self, ask: Ask, most_pieces: int | None = None) -> Reply:
        """All of it, or so many pieces, then the client hangs up."""
        reply, began = Reply(), time.perf_counter()
        try:
            async with self.asked(ask) as reader:
                head = await reader.readuntil(b"\r\n\r\n")
                reply.status = int(head.split(b" ", 2)[1])
                if reply.status != 200:
                    return reply
                parts = []
                while size := int(await reader.readuntil(b"\r\n"), 16):
                    parts.append((await reader.readexactly(size + 2))[:-2])
                    reply.arrivals.append((time.perf_counter() - began, size / SAMPLE_BYTES / RATE_HZ))
                    if len(parts) == most_pieces:
                        return reply
                reply.pcm, reply.is_whole = b"".join(parts), True
        except (OSError, EOFError, ValueError) as error:
            reply.error = repr(error)
        return reply
