"""What a frame is made of, operator by operator, and what reading its weights alone would take.

A trace is for two readers: programs that show timelines (the Trace Event Format of Chrome, which Perfetto reads), and
tables, where operators are gathered by part and kind. The bound of a part is the bytes of the weights it reads by the
bandwidth of memory, measured beside it: no arithmetic, no activations and no caches, so nothing can be faster unless
weights stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LANGUAGE_MODEL, LATENTS, DECODER = PARTS = ("language model", "latents", "decoder")
REST = "between operators"
OWNERS = {  # what reads a weight, by the beginning of its name
    **dict.fromkeys(("text", "text_model", "speech", "speech_model"), LANGUAGE_MODEL),
    **dict.fromkeys(("connector", "end", "end_classifier"), LANGUAGE_MODEL),
    "head": LATENTS,
    "decoder": DECODER,
}


@dataclass(frozen=True)
class Span:
    """An operator at work, since the trace began; `own_us` is without the operators that it calls."""

    part: str
    kind: str
    name: str
    start_us: float
    us: float
    own_us: float


@dataclass(frozen=True)
class Call:
    """A part at work."""

    part: str
    start_us: float
    us: float


@dataclass(frozen=True)
class Trace:
    """One backend saying the frames of one text window."""

    title: str
    frames: int
    calls: Sequence[Call]
    spans: Sequence[Span]
    weights: Mapping[str, int]  # bytes, by names as torch's model or OpenVINO's has them
    steps: int  # of the solver
    bandwidth: float  # bytes a second

    def ms(self, part: str) -> float:
        """Of a frame."""
        return sum(call.us for call in self.calls if call.part == part) / (1000 * self.frames)

    def kinds(self, part: str) -> dict[str, float]:
        """Milliseconds of a frame by kind of operator, most first, and what is between them."""
        found: dict[str, float] = {}
        for span in self.spans:
            if span.part == part:
                found[span.kind] = found.get(span.kind, 0.0) + span.own_us / (1000 * self.frames)
        rest = max(0.0, self.ms(part) - sum(found.values()))
        return dict(sorted(found.items(), key=lambda item: -item[1])) | {REST: rest}

    def megabytes(self, part: str) -> float:
        """Weights that are read for a frame.

        A pass reads its weights once; the text model is read once a window, in a pass of its own or not. A head reads
        its layers in each of the solver's steps, what depends on the condition only once, and its time embedding, as
        that of words, never.
        """
        passes = sum(call.part == part for call in self.calls) / self.frames
        return sum(size * self._times(part, name, passes) for name, size in self.weights.items()) / 1e6

    def _times(self, part: str, name: str, passes: float) -> float:
        """How often a frame reads a weight in this part."""
        owner, _, rest = name.removeprefix("codec.").partition(".")
        if OWNERS.get(owner) != part:
            return 0.0
        if owner in ("text", "text_model"):
            return 1 / self.frames
        if owner == "head":
            is_known, is_once = "time" in rest, "modulation" in rest or "condition_in" in rest
            return 0.0 if is_known else 1.0 if is_once else self.steps
        return passes if owner in ("speech", "speech_model", "decoder") else 1.0

    def bound_ms(self, part: str) -> float:
        return 1e9 * self.megabytes(part) / self.bandwidth

    def as_dict(self) -> dict[str, Any]:
        """For machines: what a frame is made of."""
        parts = {
            part: {
                "ms": self.ms(part),
                "bound, ms": self.bound_ms(part),
                "weights, MB": self.megabytes(part),
                "operators, ms": self.kinds(part),
            }
            for part in PARTS
        }
        return {"frames": self.frames, "bandwidth, GB/s": self.bandwidth / 1e9, "parts": parts}


def chrome(traces: Sequence[Trace]) -> dict[str, Any]:
    """All traces in the Trace Event Format, a process each."""
    events: list[dict[str, Any]] = []
    for number, trace in enumerate(traces):
        place = {"pid": number, "tid": 0}
        events.append({"name": "process_name", "ph": "M", **place, "args": {"name": trace.title}})
        for call in trace.calls:
            events.append({"name": call.part, "cat": "part", "ph": "X", "ts": call.start_us, "dur": call.us, **place})
        for span in trace.spans:
            times = {"ts": span.start_us, "dur": span.us}
            events.append(
                {"name": span.kind, "cat": span.part, "ph": "X", **times, **place, "args": {"node": span.name}}
            )
    return {"traceEvents": events, "displayTimeUnit": "ms", "frames": {t.title: t.as_dict() for t in traces}}
