"""Who makes which token: the interleave schedules of VITA-Audio (arXiv:2505.03739) as data.

A schedule is a list of pairs: so many tokens of the backbone, then so many of the prediction modules, one after the
other; the last pair repeats for ever. Training data is interleaved by the same numbers, text first, then a span of
audio with its markers, so a schedule also says where text and where audio is expected.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from loquor.errors import ConfigError

LONGEST_RUN = 2**20


@dataclass(frozen=True)
class Schedule:
    """Pairs (backbone tokens, module tokens)."""

    pairs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not self.pairs or sum(self.pairs[-1]) == 0:
            raise ConfigError(
                "a schedule needs a last pair of numbers that are not both 0, as it repeats for ever",
                hint=f"e.g. {list(BOOST.numbers)}, or one of {', '.join(SCHEDULES)}" if SCHEDULES else "",
            )

    @classmethod
    def of(cls, value: str | Sequence[int] | Schedule) -> Schedule:
        """A name (vanilla, balance, boost, turbo) or an even number of numbers; ConfigError if it is neither."""
        if isinstance(value, Schedule):
            return value
        if isinstance(value, str):
            if value.lower() not in SCHEDULES:
                raise ConfigError(f"there is no schedule {value!r}", hint=f"one of {', '.join(SCHEDULES)}")
            return SCHEDULES[value.lower()]
        numbers: list[Any] = list(value) if isinstance(value, Sequence) else []
        sound = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= LONGEST_RUN for n in numbers)
        if not numbers or len(numbers) % 2 or not sound:
            raise ConfigError(
                f"a schedule is an even number of whole numbers from 0 to {LONGEST_RUN}, got {value!r}",
                hint="backbone tokens, module tokens, and so on, e.g. [1, 10, 4, 10]",
            )
        return cls(tuple(zip(numbers[::2], numbers[1::2], strict=True)))

    @property
    def numbers(self) -> tuple[int, ...]:
        """As published files write it."""
        return tuple(number for pair in self.pairs for number in pair)

    def is_module(self, token: int) -> bool:
        """Whether a module makes the generated token of that number, the first being 0."""
        pair, offset = self._place(token)
        return offset >= self.pairs[pair][0]

    def modules_from(self, token: int) -> int:
        """The longest run of module tokens that any pair from that token on has."""
        return max(modules for _, modules in self.pairs[self._place(token)[0] :])

    def _place(self, token: int) -> tuple[int, int]:
        """The pair a token falls into, and its offset there."""
        pair = bisect_right(self._starts, token) - 1
        offset = token - self._starts[pair]
        return pair, offset % sum(self.pairs[pair]) if pair == len(self.pairs) - 1 else offset

    @cached_property
    def _starts(self) -> list[int]:
        return list(accumulate((sum(pair) for pair in self.pairs[:-1]), initial=0))


SCHEDULES: dict[str, Schedule] = {}
VANILLA, BALANCE, BOOST, TURBO = (
    Schedule(((8192, 0),)),
    Schedule(((1, 4), (3, 8), (4, 10))),
    Schedule(((1, 10), (4, 10))),
    Schedule(((1, 10),)),
)
SCHEDULES |= {"vanilla": VANILLA, "balance": BALANCE, "boost": BOOST, "turbo": TURBO}
