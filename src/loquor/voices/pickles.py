"""A pickle read as data: the opcodes are walked one by one and build plain records; nothing a file names is called.

Python's own unpickler imports what a pickle names and calls it. This reader can do neither: a global is looked up in a
list of allowed names, "call f(args)" becomes a `Record` of f and args, and any opcode outside the short list that torch
writes is refused. Sizes are limited, keys are strings and nothing recurses, so a hostile file can neither run code nor
exhaust memory or the stack (as deeply nested keys do in Python's own). The opcode tables are those of `pickletools`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from loquor.errors import VoiceError

MAX_OPCODES = 200_000  # a published preset has 3,900
CONSTANTS = frozenset({"BININT", "BININT1", "BININT2", "BINUNICODE", "SHORT_BINUNICODE"})
LITERALS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}


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
    args: Any
    state: Any = None
    items: dict[str, Any] = field(default_factory=dict)


def read_pickle(data: bytes, allowed: Collection[str], source: str) -> Any:
    """The tree in `data`, of dicts, lists, tuples, numbers, strings, Names, References and Records.

    VoiceError, naming `source`, for a name that is not `allowed` ("module name"), and for anything malformed.
    """
    machine = _Machine(allowed, source)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count >= MAX_OPCODES:
                raise machine.refusal(f"has more than {MAX_OPCODES} opcodes")
            machine.run(opcode.name, argument)
    except ValueError as error:
        raise machine.refusal(f"is damaged: {error}") from None
    return machine.result()


class _Machine:
    """Stack, marks and memo of one pickle."""

    def __init__(self, allowed: Collection[str], source: str) -> None:
        self.allowed = allowed
        self.source = source
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # stacks set aside at each MARK
        self.memo: dict[int, Any] = {}

    def refusal(self, what: str) -> VoiceError:
        return VoiceError(f"{self.source}: its pickle {what}", hint="voice presets are read without running anything")

    def run(self, opcode: str, argument: Any) -> None:
        if opcode in CONSTANTS:
            self.push(argument)
        elif opcode in LITERALS:
            self.push(LITERALS[opcode]())
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        elif opcode == "INST":
            self.name(argument)
            raise self.refusal("uses opcode INST, which published presets do not")
        else:
            raise self.refusal(f"uses opcode {opcode}, which published presets do not")

    def result(self) -> Any:
        if self.marked or len(self.stack) != 1:
            raise self.refusal("does not hold exactly one value")
        return self.stack[0]

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

    def pop_marked(self) -> list[Any]:
        if not self.marked:
            raise self.refusal("closes a group that it never opened")
        group, self.stack = self.stack, self.marked.pop()
        return group

    def name(self, text: str) -> None:
        if text not in self.allowed:
            raise self.refusal(f"names {text.replace(' ', '.')}, which is not allowed")
        self.push(Name(text))

    def stack_name(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise self.refusal("has a global without a name")
        self.name(f"{module} {name}")

    def call(self, _: Any) -> None:
        args, kind = self.pop(), self.pop()
        if not (isinstance(kind, Name) and isinstance(args, tuple)):
            raise self.refusal("calls something that is no global")
        self.push(Record(kind.text, args))

    def build(self, _: Any) -> None:
        state = self.pop()
        self.top(Record).state = state

    def mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def remember(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.top(object)

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise self.refusal(f"recalls value {index}, which it never kept")
        self.push(self.memo[index])

    def last(self, count: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(count)])))

    def extend(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def assign(self, values: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        items = target.items if isinstance(target, Record) else target
        keys = values[::2]
        if not isinstance(items, dict) or len(values) % 2 or not all(isinstance(key, str) for key in keys):
            raise self.refusal("sets items that are not a dictionary's with text for keys")
        items.update(zip(keys, values[1::2], strict=True))


_Action = Callable[[_Machine, Any], None]


def _nothing(machine: _Machine, argument: Any) -> None:
    """PROTO, FRAME and STOP carry no value."""


def _tuple_of(count: int) -> _Action:
    return lambda machine, _: machine.last(count)


def _append(machine: _Machine, _: Any) -> None:
    machine.extend([machine.pop()])


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    machine.assign([key, value])


_ACTIONS: dict[str, _Action] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.call),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "BUILD": _Machine.build,
    "MARK": _Machine.mark,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_marked())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": _append,
    "APPENDS": lambda machine, _: machine.extend(machine.pop_marked()),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: machine.assign(machine.pop_marked()),
    "BINPERSID": lambda machine, _: machine.push(Reference(machine.pop())),
}
