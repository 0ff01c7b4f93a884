"""A reply in the turn of an agent, whichever framework asks for it."""

from __future__ import annotations

import asyncio

import pytest

from loquor.engine.speaker import Speaker
from loquor.errors import InputError
from loquor.integrations.replying import Reply, Sounded


def said(speaker: Speaker, text: str, is_cancelled: bool) -> list[Sounded]:
    async def scene() -> list[Sounded]:
        reply = Reply(speaker, "Toy", 0, 24_000)
        await reply.push(text)
        if is_cancelled:
            reply.cancel()
        await reply.end()
        return [piece async for piece in reply.said()]

    return asyncio.run(scene())


def test_a_reply_that_is_cancelled_before_a_sound_ends_without_one(speaker: Speaker) -> None:
    assert not said(speaker, "Hello.", is_cancelled=True)
    assert not said(speaker, "?!", is_cancelled=True)
    assert said(speaker, "Hello.", is_cancelled=False)
    with pytest.raises(InputError, match="nothing that can be spoken"):
        said(speaker, "?!", is_cancelled=False)
