"""What an evaluation needs in tests: recordings of another system, and reports made by hand."""

from pathlib import Path

import numpy as np
import soundfile

from loquor.evaluation.report import Case, Report, summarise

RATE_HZ = 24_000


def write_recordings(folder: Path, spoken, names=("0001", "0002")):
    """A folder of another system's recordings, [T] each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, waveform in zip(names, spoken, strict=True):
        soundfile.write(folder / f"{name}.wav", waveform, RATE_HZ)
    return folder


def case(name="0001", errors=0, tokens=4, text="one two three four", **measures):
    rates = {"errors": float(errors), "tokens": float(tokens), "error_rate": errors / tokens}
    pairs = tuple((word, word if i >= errors else "x") for i, word in enumerate(text.split()))
    measures = {"seconds": 1.0, "fault": 0.0} | rates | measures
    return Case(name, "speak", text, "en", f"key{name}", heard=text, pairs=pairs, measures=measures)


def report(cases, model="one", cache=Path("cache"), **options):
    figures, ordered = summarise(cases)
    system = {"model": model, "voice": "default", "seed": 0, "device": "cpu", "identity": "0"}
    told = {"transcriber": "moonshine", "workers": 1, "threads": 1, "like": [], "task": "speak"} | options
    return Report(system, told, {"python": "3"}, figures, ordered, {}, cache)


def noisy(waveform, level=0.05):
    return waveform + level * np.random.default_rng(0).standard_normal(len(waveform)).astype(np.float32)
