"""Word error rate of a model on a list of sentences, one a line.

    python benchmarks/intelligibility.py SENTENCES.txt [--model FOLDER] [--guidance G] [--steps N] [--json FILE]

Each sentence is spoken (seed = its line number), transcribed by moonshine tiny-en and scored after whisper's English
normalisation; the interval is a 95 % bootstrap over sentences. Needs the `eval` extra.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch

import loquor
from loquor.evaluation.wer import score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", type=Path)
    parser.add_argument("--model", help="a model folder; the embedded voice if left out")
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--limit", type=int, help="only so many sentences")
    parser.add_argument("--json", type=Path, help="write the whole report here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    speaker = loquor.load(options.model)
    texts = [line for line in options.sentences.read_text(encoding="utf-8").splitlines() if line.strip()][
        : options.limit
    ]
    spoken = [
        speaker.speak(text, guidance=options.guidance, steps=options.steps, seed=i) for i, text in enumerate(texts)
    ]
    report = score((s.text, s.waveform.numpy(), s.sample_rate_hz) for s in spoken)
    rtf = statistics.median(s.rtf for s in spoken)
    odd = [s.text for s in spoken if s.finish != "end"]
    print(report)
    seconds = sum(s.seconds for s in spoken)
    print(f"{len(spoken)} sentences, {seconds:.0f} s of speech, rtf {rtf:.3f}, {len(odd)} not ended")
    if options.json:
        figures = {"rtf": rtf, "not_ended": odd, "guidance": options.guidance, "steps": options.steps}
        options.json.write_text(json.dumps(report.as_dict() | figures, indent=1))


if __name__ == "__main__":
    main()
