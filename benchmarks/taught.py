"""How well a model speaks as a teacher does, on sentences that the teacher has read too.

    python benchmarks/taught.py HELD_OUT [--model FOLDER] [--voice VOICE] [--language en] [--json FILE]

HELD_OUT is a folder of wav and txt pairs, as `python -m loquor.training.teachers` writes. Each text is spoken (seed =
its number) and compared with the teacher's recording: likeness of the speaker, mel-cepstral distance along the best
alignment, length, predicted opinion (DNSMOS), and for English the word error rate, the teacher's beside it. Means, with
95 % bootstrap intervals over sentences. Needs the `eval` extra.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from rich.progress import track

import loquor
from loquor.audio.io import read
from loquor.evaluation.mel_cepstral import mel_cepstral_distance
from loquor.evaluation.mos import OpinionPredictor
from loquor.evaluation.similarity import SpeakerEncoder, similarity
from loquor.evaluation.statistics import mean_interval
from loquor.evaluation.wer import score
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.text.languages import normalize


def mean(values: list[float]) -> str:
    value, low, high = mean_interval(values)
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--model", help="a model folder; the embedded voice if left out")
    parser.add_argument("--voice", default="default")
    parser.add_argument("--language", default="en")
    parser.add_argument("--json", type=Path, help="write the figures of every sentence here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    speaker, encoder, opinion = loquor.load(options.model), SpeakerEncoder(), OpinionPredictor()
    rows, spoken, taught = [], [], []
    for path in track(sorted(options.held_out.glob("*.wav")), "speaking"):
        text = path.with_suffix(".txt").read_text(encoding="utf-8").strip()
        reference = read(path, SAMPLE_RATE_HZ)
        said = speaker.speak(normalize(text, options.language), options.voice, seed=int(path.stem)).waveform.numpy()
        distance = mel_cepstral_distance(said, reference, SAMPLE_RATE_HZ)
        rows.append(
            {
                "text": text,
                "similarity": similarity(encoder.embed(said, SAMPLE_RATE_HZ), encoder.embed(reference, SAMPLE_RATE_HZ)),
                "mel_cepstral_distance": distance.decibel,
                "length": len(said) / len(reference),
                "mos": opinion.predict(said, SAMPLE_RATE_HZ).overall,
                "mos_of_teacher": opinion.predict(reference, SAMPLE_RATE_HZ).overall,
            }
        )
        spoken.append((text, said, SAMPLE_RATE_HZ))
        taught.append((text, reference, SAMPLE_RATE_HZ))
    figures = {key: mean([float(row[key]) for row in rows]) for key in rows[0] if key != "text"}
    if options.language == "en":
        figures |= {"words": str(score(spoken)), "words_of_teacher": str(score(taught))}
    for key, value in figures.items():
        print(f"{key.replace('_', ' '):22} {value}")
    if options.json:
        options.json.write_text(json.dumps({"figures": figures, "sentences": rows}, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
