"""Realtime models at work, operator by operator: torch by its profiler, OpenVINO by what its nodes count themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from loquor.backends.interface import RealtimeBackend
from loquor.engine.load import model_folder
from loquor.errors import ConfigError
from loquor.evaluation.speed.bench import Options, Watch, watched
from loquor.evaluation.speed.machine import bandwidth
from loquor.evaluation.speed.models import SHAPES as ALL_SHAPES
from loquor.evaluation.speed.realtime import (
    SHAPES,
    Manner,
    Runs,
    model_in,
    model_of_shape,
    optimised,
    tensors_of,
    titles,
)
from loquor.evaluation.speed.trace import PARTS, Call, Span, Trace
from loquor.models import REALTIME, family_of
from loquor.models.realtime.model import RealtimeModel

if TYPE_CHECKING:
    from loquor.backends.openvino.backend import Pass


def traces_of(name: str, options: Options) -> list[Trace]:
    """A text window and the frames after it, by each backend, with as many threads as torch has, one pass at a time.

    ConfigError for another family than Realtime.
    """
    if name in SHAPES:
        model, manner = model_of_shape(name, options)
    elif name in ALL_SHAPES or family_of(folder := model_folder(name)) is not REALTIME:
        raise ConfigError(f"{name} is no Realtime model: only these can be traced", hint="leave --trace out")
    else:
        model, manner = model_in(folder, options)
    draw = {"torch": _torch_trace, "openvino": _openvino_trace}
    return [draw[backend](title, model, manner) for backend, title in titles(model, options).items()]


class Marks(Watch):
    """Watched calls as they come: which, when and how long, in microseconds since it was made."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        super().__init__(lambda: 1e6 * (time.perf_counter() - self.began))
        self.calls: list[Call] = []
        self.part = ""

    def _run(self, name: str, work: Callable[[], object]) -> object:
        start, self.part = self.clock(), name
        with record_function(name):
            result = work()
        self.calls.append(Call(name, start, self.clock() - start))
        return result


class Speaking:
    """A stream in the middle of its speech, one pass at a time."""

    def __init__(self, backend: RealtimeBackend, manner: Manner) -> None:
        window = backend.config.speech_window
        runs = Runs(backend, manner, 2 * window)
        self.frames, self.batch = window, runs.batch(is_pipelined=False)
        self.passes = runs.passes(self.batch)
        self.batch.join(runs.stream())
        for _ in range(self.frames):
            self.batch.step()

    def say(self, marks: Marks) -> None:
        """The frames of one text window, each pass marked."""
        with watched(marks, self.passes):
            for _ in range(self.frames):
                self.batch.step()


def _torch_trace(title: str, model: RealtimeModel, manner: Manner) -> Trace:
    sizes = {name: p.nbytes for name, p in model.named_parameters()}
    speaking, read = Speaking(model, manner), bandwidth()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        speaking.say(Marks())
    spans, calls = list[Span](), list[Call]()
    for event in profiler.events() or []:
        start, us = event.time_range.start, event.time_range.elapsed_us()
        if event.name in PARTS:
            calls.append(Call(event.name, start, us))
        elif part := _part_of(event):
            spans.append(Span(part, event.name, "", start, us, event.self_cpu_time_total))
    return Trace(title, speaking.frames, calls, spans, sizes, manner.sampling.steps, read)


def _part_of(event: Any) -> str:
    """The part that an operator belongs to; empty if it is of none."""
    while event := event.cpu_parent:
        if event.name in PARTS:
            return str(event.name)
    return ""


class Counted:
    """The runs of OpenVINO's graphs. A node tells the mean of all its times, so those of a while are a difference."""

    def __init__(self) -> None:
        self.marks = Marks()
        self.runs: dict[Pass, list[tuple[str, float]]] = {}  # parts and times
        self.before: dict[Pass, tuple[int, list[float]]] = {}  # how often nodes ran, and how long in all, in us

    def run(self, graph: Pass, run: Callable[[Pass], None]) -> None:
        """Have it run as it does."""
        self.runs.setdefault(graph, []).append((self.marks.part, self.marks.clock()))
        run(graph)

    def begin(self) -> None:
        """What ran until now is not to be told of."""
        self.before = {graph: (len(runs), _totals(graph, len(runs))) for graph, runs in self.runs.items()}

    def spans(self) -> Iterator[Span]:
        """Nodes in their order, one after the other: which of several runs took longer is not known."""
        for graph, runs in self.runs.items():
            nodes, totals = _nodes(graph), _totals(graph, len(runs))
            count, before = self.before.get(graph, (0, [0.0] * len(nodes)))
            latest = runs[count:]
            for part, began in latest:
                start = began
                for node, total, earlier in zip(nodes, totals, before, strict=True):
                    us = max(0.0, total - earlier) / len(latest)
                    if us:
                        yield Span(part, node.node_type, node.node_name, start, us, us)
                        start += us


def _nodes(graph: Pass) -> Any:
    return graph._request.profiling_info


def _totals(graph: Pass, runs: int) -> list[float]:
    return [1e6 * runs * node.real_time.total_seconds() for node in _nodes(graph)]


def _openvino_trace(title: str, model: RealtimeModel, manner: Manner) -> Trace:
    from loquor.backends.openvino.backend import Pass

    tensors, threads, run = tensors_of(model), torch.get_num_threads(), Pass.run
    sizes, counted = {name: tensor.nbytes for name, tensor in tensors.items()}, Counted()
    torch.set_num_threads(1)
    try:
        Pass.run = lambda graph: counted.run(graph, run)  # type: ignore[method-assign, assignment]
        with _counting():
            speaking = Speaking(optimised(model, tensors), manner)
        read = bandwidth()
        counted.begin()
        speaking.say(counted.marks)
    finally:
        Pass.run = run  # type: ignore[method-assign]
        torch.set_num_threads(threads)
    calls, spans = counted.marks.calls, list(counted.spans())
    return Trace(title, speaking.frames, calls, spans, sizes, manner.sampling.steps, read)


@contextmanager
def _counting() -> Iterator[None]:
    """Graphs of OpenVINO that are made meanwhile count the time of their nodes."""
    from loquor.backends.openvino.backend import ONE_THREAD

    ONE_THREAD["PERF_COUNT"] = True
    try:
        yield
    finally:
        del ONE_THREAD["PERF_COUNT"]
