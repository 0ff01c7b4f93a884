"""The figures of a data set: what is in it, what is not and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from loquor.training.dataset.records import REASONS, Dropped, Record
from loquor.training.dataset.settings import SPLITS
from loquor.training.dataset.wording import has_normalizer


@dataclass
class Share:
    """A part of a data set."""

    items: int = 0
    hours: float = 0.0

    def add(self, seconds: float) -> None:
        self.items, self.hours = self.items + 1, self.hours + seconds / 3600


@dataclass(frozen=True)
class Spread:
    """How a figure is spread over the items."""

    least: float
    fifth_percentile: float
    median: float
    ninety_fifth_percentile: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None if there are no values."""
        return cls(*(round(float(v), 2) for v in np.percentile(values, [0, 5, 50, 95, 100]))) if values else None


@dataclass(frozen=True)
class Report:
    """What `loquor data show` tells; shares by their name, the largest first."""

    kept: Share
    dropped: Mapping[str, int]  # by reason
    splits: Mapping[str, Share]
    speakers: Mapping[str, Share]
    languages: Mapping[str, Share]
    spreads: Mapping[str, Spread | None]  # of seconds, level_dbfs (as recorded), pace and wer
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Report:
        """From JSON; TypeError or KeyError if it is no report."""
        shares = {key: {k: Share(**v) for k, v in values[key].items()} for key in ("splits", "speakers", "languages")}
        spreads = {key: value and Spread(**value) for key, value in values["spreads"].items()}
        kept, warnings = Share(**values["kept"]), tuple(values["warnings"])
        return cls(kept=kept, dropped=values["dropped"], spreads=spreads, warnings=warnings, **shares)


@dataclass
class Totals:
    """Counts items one by one."""

    kept: Share = field(default_factory=Share)
    dropped: Counter[str] = field(default_factory=Counter)
    shares: dict[str, defaultdict[str, Share]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Share)))
    drawn: dict[str, list[float]] = field(
        default_factory=lambda: {"seconds": [], "level_dbfs": [], "pace": [], "wer": []}
    )

    def add(self, one: Record | Dropped) -> None:
        if isinstance(one, Dropped):
            self.dropped[one.reason] += 1
            return
        self.kept.add(one.seconds)
        for kind in ("split", "speaker", "language"):
            self.shares[kind][getattr(one, kind)].add(one.seconds)
        for name, values in self.drawn.items():
            value = getattr(one, name)
            if value is not None:
                values.append(value)

    def report(self) -> Report:
        self.kept.hours = round(self.kept.hours, 4)
        splits = {name: self.shares["split"][name] for name in SPLITS}
        return Report(
            kept=self.kept,
            dropped={reason: self.dropped[reason] for reason in REASONS if self.dropped[reason]},
            splits=splits,
            speakers=_largest_first(self.shares["speaker"]),
            languages=_largest_first(self.shares["language"]),
            spreads={name: Spread.of(values) for name, values in self.drawn.items()},
            warnings=tuple(self._warnings(splits)),
        )

    def _warnings(self, splits: Mapping[str, Share]) -> list[str]:
        warnings = []
        if not self.kept.items:
            warnings.append("nothing is left to train on: `loquor data dropped` says why")
        elif not splits["validation"].items:
            warnings.append("no item fell to validation: raise --validation")
        elif not splits["train"].items:
            warnings.append("every item fell to validation: lower --validation")
        unknown = self.shares["language"].get("")
        if unknown:
            warnings.append(f"{unknown.items} texts of no stated language are as written: name it by --language")
        for language in sorted(self.shares["language"].keys() - {""}):
            if not has_normalizer(language):
                warnings.append(f"texts in {language} are as written: there is no normaliser for it")
        return warnings


def _largest_first(shares: Mapping[str, Share]) -> dict[str, Share]:
    ordered = sorted(shares.items(), key=lambda pair: (-pair[1].hours, pair[0]))
    return {name: Share(share.items, round(share.hours, 4)) for name, share in ordered}
