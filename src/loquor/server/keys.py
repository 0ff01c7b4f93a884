"""API keys: who may ask, and how much. Only hashes are kept; a key is shown once, when it is made.

A key is 256 random bits, so one round of SHA-256 is enough to hide it (no dictionary holds it), and what is compared
are hashes, in time that does not depend on where they differ, all of them at every request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path
from threading import Lock

from loquor.checkpoints import write_atomically
from loquor.configs import from_dict
from loquor.errors import ConfigError, InputError
from loquor.server.refusals import RefusedError, UnauthorisedError

PREFIX = "lq-"
KEY_HEADERS = ("xi-api-key", "x-api-key")  # besides `Authorization: Bearer`, what clients of other services send
HINT = "send it as `Authorization: Bearer KEY`; `loquor keys add` makes one"


@dataclass(frozen=True)
class Client:
    """Who asks. Voices belong to a name; None is no limit."""

    name: str
    per_minute: int | None = None  # requests
    at_once: int | None = None  # requests that speak or wait
    address: str = ""  # of one without a key, to tell it from others

    @property
    def share(self) -> str:
        """Whose share of slots and queue it has: its key's, or its network's."""
        return f"{self.name} {self.address}".rstrip()


ANONYMOUS = Client("anonymous")  # everybody, where no keys are asked for


def anonymous(address: str) -> Client:
    """One of everybody; the addresses of an IPv6 /64 are one client, who may have them all (RFC 6177)."""
    try:
        known = ip_address(address)
    except ValueError:  # a socket of no network, a test
        return ANONYMOUS
    if isinstance(known, IPv6Address) and known.ipv4_mapped is None:
        address = str(IPv6Network((int(known), 64), strict=False))
    return replace(ANONYMOUS, address=address)


@dataclass(frozen=True)
class Key:
    """A line of the keys file. Several keys may have one name: to change one, make the next before the last goes."""

    name: str
    sha256: str
    created: str
    per_minute: int | None = None
    at_once: int | None = None

    def __post_init__(self) -> None:
        limits = {"per_minute": self.per_minute, "at_once": self.at_once}
        for name, value in limits.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} of a key must be a whole number of 1 or more, got {value!r}")
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise ConfigError(f"a key needs a name, got {self.name!r}")
        if not isinstance(self.sha256, str) or len(self.sha256) != 64:
            raise ConfigError(f"sha256 of key {self.name!r} must be 64 hexadecimal digits")

    @property
    def client(self) -> Client:
        return Client(self.name, self.per_minute, self.at_once)


def new_key(name: str, per_minute: int | None = None, at_once: int | None = None) -> tuple[str, Key]:
    """A key to hand out, and what is kept of it; ConfigError for a limit that is none."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, Key(name, _hash(secret), date.today().isoformat(), per_minute, at_once)


def read_keys(path: Path) -> list[Key]:
    """The keys in a file; ConfigError if there is none or it cannot be used."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}", hint="make it: loquor keys add NAME --file FILE") from None
    entries = values.get("keys") if isinstance(values, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path} is no file of keys", hint="make one: loquor keys add NAME --file FILE")
    try:
        return [from_dict(Key, entry, "key", ignore=()) for entry in entries]
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}", hint=error.hint) from None


def save_keys(path: Path, keys: list[Key]) -> None:
    """Write a file that only its owner can read, whole or not at all."""

    def write(beside: Path) -> None:
        beside.touch(mode=0o600)
        beside.write_text(json.dumps({"keys": [asdict(key) for key in keys]}, indent=2) + "\n", encoding="utf-8")

    write_atomically(path, write)


class Guard:
    """Lets clients in. The file is read again when it changes, so a key that is taken out no longer opens anything."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without a path everybody is `ANONYMOUS`, known by their address, and has no limits."""
        self._path, self._clock, self._lock = path, clock, Lock()
        self._stamp: tuple[int, int] | None = None
        self._keys: list[Key] = []
        self._left: dict[str, tuple[float, float]] = {}  # requests a client has left, and when that was counted
        if path:
            self._refresh(path)

    @property
    def asks_for_keys(self) -> bool:
        return self._path is not None

    def client(self, headers: Mapping[str, str], given: str | None = None, address: str = "") -> Client:
        """Who sends these headers from an address, or the key `given` where a protocol has another place for it.

        UnauthorisedError if nobody we know, RefusedError if they ask more often than they may.
        """
        if self._path is None:
            return anonymous(address)
        self._refresh(self._path)
        secret = given or _key_in(headers)
        if not secret:
            raise UnauthorisedError("this server asks for an API key", hint=HINT)
        hashed = _hash(secret)
        found = [key for key in self._keys if hmac.compare_digest(key.sha256, hashed)]
        if not found:
            raise UnauthorisedError("the API key is not known", hint=HINT)
        self._charge(found[0].client)
        return found[0].client

    def _refresh(self, path: Path) -> None:
        try:
            status = path.stat()
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}", hint="make it: loquor keys add NAME") from error
        stamp = status.st_mtime_ns, status.st_size
        if stamp != self._stamp:
            self._keys, self._stamp = read_keys(path), stamp

    def _charge(self, client: Client) -> None:
        """Take one request from a bucket that fills at the client's rate."""
        if client.per_minute is None:
            return
        with self._lock:
            now = self._clock()
            left, counted = self._left.get(client.name, (float(client.per_minute), now))
            left = min(client.per_minute, left + (now - counted) * client.per_minute / 60)
            self._left[client.name] = (left - 1 if left >= 1 else left), now
        if left < 1:
            wait_s = (1 - left) * 60 / client.per_minute
            raise RefusedError(
                f"more than {client.per_minute} requests a minute", wait_s, "wait a little", is_theirs=True
            )


def remove_keys(keys: list[Key], name: str) -> list[Key]:
    """All but those called `name`; InputError if there is none."""
    left = [key for key in keys if key.name != name]
    if len(left) == len(keys):
        raise InputError(f"there is no key called {name!r}", hint=f"there are {', '.join({k.name for k in keys})}")
    return left


def _key_in(headers: Mapping[str, str]) -> str:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return secret.strip()
    return next((headers[name] for name in KEY_HEADERS if headers.get(name)), "")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
