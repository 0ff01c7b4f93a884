"""A language model behind OpenAI's chat interface, whoever runs it: Ollama, llama.cpp, vLLM, LM Studio, a service.

`POST ADDRESS/chat/completions` with `stream` gives server-sent events, a few characters each. The standard library is
enough for that: nothing is installed or imported for it.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPException, HTTPResponse
from typing import Any

from loquor.errors import InputError

KEY = "OPENAI_API_KEY"
PATIENCE_S = 300.0  # for the next piece: a model may have to be loaded first
MOST_SHOWN = 300  # characters of a server's own words
Message = dict[str, str]  # role and content


class LanguageModel:
    """One model of one server."""

    def __init__(self, address: str, name: str) -> None:
        """InputError unless `address` is one of HTTP; nothing is asked yet."""
        if not address.startswith(("http://", "https://")):
            raise InputError(f"{address!r} is no address", hint="such as http://localhost:11434/v1")
        self._address, self._name = address.rstrip("/"), name

    def ask(self, messages: Sequence[Message]) -> Answer:
        """The answer to a conversation, as soon as the server begins it; InputError if it does not."""
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        body = json.dumps({"model": self._name, "messages": list(messages), "stream": True}).encode()
        request = urllib.request.Request(f"{self._address}/chat/completions", body, headers)
        if key := os.environ.get(KEY):
            request.add_unredirected_header("Authorization", f"Bearer {key}")  # for this server, not where it sends us
        try:
            return Answer(urllib.request.urlopen(request, timeout=PATIENCE_S), self._address)
        except urllib.error.HTTPError as error:
            with error:
                said = _complaint(error.read()) or error.reason
            raise InputError(f"{self._address} answers {error.code}: {said}", _hint(error.code)) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise InputError(f"{self._address} does not answer: {reason}", hint="does the server run there?") from None


class Answer:
    """Text as it comes. Taken in one thread; any other may stop it."""

    def __init__(self, response: HTTPResponse, address: str) -> None:
        self._response, self._address = response, address
        self._is_stopped = False

    def stop(self) -> None:
        """Take no more: with the next event the connection is closed, which tells the server."""
        self._is_stopped = True

    def __iter__(self) -> Iterator[str]:
        """Pieces; InputError if the server breaks off."""
        with self._response:
            try:
                for line in self._response:
                    if self._is_stopped:
                        return
                    if not line.startswith(b"data:"):
                        continue  # comments keep the connection alive
                    data = line.removeprefix(b"data:").strip()
                    if data == b"[DONE]":
                        return
                    yield from self._text(data)
            except (OSError, HTTPException) as error:
                raise InputError(f"{self._address} broke off: {error}") from None

    def _text(self, data: bytes) -> Iterator[str]:
        if said := _complaint(data):
            raise InputError(f"{self._address} broke off: {said}")
        try:
            choices = json.loads(data)["choices"]
            text = choices[0]["delta"].get("content") if choices else None
        except (ValueError, LookupError, TypeError, AttributeError):
            shown = data[:MOST_SHOWN].decode(errors="replace")
            raise InputError(f"{self._address} does not speak OpenAI's chat interface: {shown}") from None
        if text:
            yield str(text)


def _complaint(data: bytes) -> str:
    """What an answer says is wrong; empty if it says nothing we can read."""
    try:
        error: Any = json.loads(data)["error"]
    except (ValueError, LookupError, TypeError):
        return ""
    message = error.get("message") if isinstance(error, dict) else error
    return "" if message is None else str(message)[:MOST_SHOWN]


def _hint(status: int) -> str:
    if status in (401, 403):
        return f"its key is taken from ${KEY}"
    return "the address ends with /v1 at most servers, and --model must be one it has" if status == 404 else ""
