"""A pickle read as data: its opcodes are walked one by one and build plain records; nothing a file names is called.

Python's own unpickler imports what a pickle names and calls it. This reader can do neither: a global is looked up in a
list of allowed names, "call f(args)" becomes a `Record` of f and args, and any opcode outside the short list that torch
writes is refused. Sizes are limited, keys are strings and nothing recurses, so a hostile file can neither run code nor
exhaust memory or the stack (as deeply nested keys do in Python's own). Opcodes: see `pickletools`.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from loquor.errors import CheckpointError, LoquorError

MAX_OPCODES = 200_000  # a published preset has 3,900


@dataclass(frozen=True, eq=False)
class Name:
    """A global the pickle refers to, as "module name"; a word, not the thing."""

    text: str


@dataclass(frozen=True, eq=False)
class Reference:
    """A persistent id: data kept outside the pickle."""

    parts: Any


@dataclass(eq=False)
class Record:
    """What the pickle would have made by calling `kind` with `args`, then set as state and as items."""

    kind: str
    args: tuple[Any, ...]
    state: Any = None
    items: dict[str, Any] = field(default_factory=dict)


def read_pickle(data: bytes, allowed: Collection[str], source: str, error: type[LoquorError] = CheckpointError) -> Any:
    """The tree in `data`, of dicts, lists, tuples, numbers, strings, Names, References and Records.

    Raises `error`, naming `source`, for a name that is not `allowed` ("module name"), and for anything malformed.
    """
    machine = _Machine(data, allowed, source, error)
    for _ in range(MAX_OPCODES):
        opcode = machine.read(1)
        if opcode == pickle.STOP:
            return machine.result()
        if opcode not in _ACTIONS:
            raise machine.refusal(f"uses opcode {opcode!r}, which torch does not")
        _ACTIONS[opcode](machine)
    raise machine.refusal(f"has more than {MAX_OPCODES} opcodes")


class _Machine:
    """Input, stack, marks and memo of one pickle."""

    def __init__(self, data: bytes, allowed: Collection[str], source: str, error: type[LoquorError]) -> None:
        self.input = io.BytesIO(data)
        self.allowed = allowed
        self.source = source
        self.error = error
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # stacks set aside at each MARK
        self.memo: dict[int, Any] = {}

    def refusal(self, what: str) -> LoquorError:
        return self.error(f"{self.source}: its pickle {what}", hint="pickles are read here without running anything")

    def result(self) -> Any:
        if self.marked or len(self.stack) != 1:
            raise self.refusal("does not hold exactly one value")
        return self.stack[0]

    def read(self, count: int) -> bytes:
        data = self.input.read(count)
        if len(data) < count:
            raise self.refusal("is cut off")
        return data

    def number(self, layout: str) -> int:
        value: int = struct.unpack(layout, self.read(struct.calcsize(layout)))[0]
        return value

    def text(self, length_layout: str) -> str:
        return self.decoded(self.read(self.number(length_layout)))

    def line(self) -> str:
        return self.decoded(self.input.readline().rstrip(b"\n"))

    def decoded(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise self.refusal("holds text that is not UTF-8") from None

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise self.refusal("takes more values than it gave")
        return self.stack.pop()

    def top(self, kind: type[Any]) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise self.refusal(f"expects a {kind.__name__} where there is none")
        return self.stack[-1]

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop_marked(self) -> list[Any]:
        if not self.marked:
            raise self.refusal("closes a group that it never opened")
        group, self.stack = self.stack, self.marked.pop()
        return group

    def pop_last(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def name(self, text: str) -> None:
        if text not in self.allowed:
            raise self.refusal(f"names {text.replace(' ', '.')[:100]!r}, which is not allowed")
        self.push(Name(text))

    def name_on_stack(self) -> None:
        module, name = self.pop_last(2)
        if not (isinstance(name, str) and isinstance(module, str)):
            raise self.refusal("has a global without a name")
        self.name(f"{module} {name}")

    def call(self) -> None:
        kind, args = self.pop_last(2)
        if not (isinstance(kind, Name) and isinstance(args, tuple)):
            raise self.refusal("calls something that is no global")
        self.push(Record(kind.text, args))

    def build(self) -> None:
        state = self.pop()
        self.top(Record).state = state

    def remember(self, index: int) -> None:
        self.memo[index] = self.top(object)

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise self.refusal(f"recalls value {index}, which it never kept")
        self.push(self.memo[index])

    def extend(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def assign(self, values: list[Any]) -> None:
        target = self.top(object)
        items = target.items if isinstance(target, Record) else target
        keys = values[::2]
        if not isinstance(items, dict) or len(values) % 2 or not all(isinstance(key, str) for key in keys):
            raise self.refusal("sets items that are not a dictionary's with text for keys")
        items.update(zip(keys, values[1::2], strict=True))


_ACTIONS: dict[bytes, Callable[[_Machine], object]] = {
    pickle.PROTO: lambda m: m.read(1),
    pickle.FRAME: lambda m: m.read(8),
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.BININT: lambda m: m.push(m.number("<i")),
    pickle.BININT1: lambda m: m.push(m.number("<B")),
    pickle.BININT2: lambda m: m.push(m.number("<H")),
    pickle.BINUNICODE: lambda m: m.push(m.text("<I")),
    pickle.SHORT_BINUNICODE: lambda m: m.push(m.text("<B")),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.MARK: _Machine.mark,
    pickle.TUPLE: lambda m: m.push(tuple(m.pop_marked())),
    pickle.TUPLE1: lambda m: m.push(m.pop_last(1)),
    pickle.TUPLE2: lambda m: m.push(m.pop_last(2)),
    pickle.TUPLE3: lambda m: m.push(m.pop_last(3)),
    pickle.APPEND: lambda m: m.extend(list(m.pop_last(1))),
    pickle.APPENDS: lambda m: m.extend(m.pop_marked()),
    pickle.SETITEM: lambda m: m.assign(list(m.pop_last(2))),
    pickle.SETITEMS: lambda m: m.assign(m.pop_marked()),
    pickle.BINPUT: lambda m: m.remember(m.number("<B")),
    pickle.LONG_BINPUT: lambda m: m.remember(m.number("<I")),
    pickle.MEMOIZE: lambda m: m.remember(len(m.memo)),
    pickle.BINGET: lambda m: m.recall(m.number("<B")),
    pickle.LONG_BINGET: lambda m: m.recall(m.number("<I")),
    pickle.GLOBAL: lambda m: m.name(f"{m.line()} {m.line()}"),
    pickle.INST: lambda m: m.name(f"{m.line()} {m.line()}"),  # only to show the name: what follows does not fit
    pickle.STACK_GLOBAL: _Machine.name_on_stack,
    pickle.REDUCE: _Machine.call,
    pickle.NEWOBJ: _Machine.call,
    pickle.BUILD: _Machine.build,
    pickle.BINPERSID: lambda m: m.push(Reference(m.pop())),
}
