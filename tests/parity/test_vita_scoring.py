"""Golden scoring: error rates of the WeNet scripts, and spoken questions judged by containment."""

from __future__ import annotations

from typing import Any

import pytest

from loquor.evaluation.containment import containment, is_contained
from loquor.evaluation.error_rate import compare_texts
from loquor.evaluation.wenet import Errors, Tokens, wenet_score, wenet_tokens
from parity.vita import vita_case

SCORING = vita_case("scoring")
SETTINGS = {
    "wer_char1": {"by_character": True, "letters": False},
    "wer_char0": {"by_character": False, "letters": False},
    "cer_char1": {"by_character": True, "letters": True},
}
KINDS = [name for name in SCORING if name.startswith(("wer_", "cer_"))]


def tokens(kind: str) -> tuple[list[Tokens], list[Tokens]]:
    """References and hypotheses of all pairs."""
    said, heard = ([wenet_tokens(pair[side], **SETTINGS[kind]) for pair in SCORING["pairs"]] for side in ("ref", "hyp"))
    return said, heard


def as_recorded(errors: Errors) -> dict[str, Any]:
    counts = {"C": errors.correct, "S": errors.substituted, "D": errors.deleted, "I": errors.inserted}
    return {"wer": round(100 * errors.rate, 2), "N": errors.tokens, **counts}


@pytest.mark.parametrize("kind", [name.removeprefix("tokens_") for name in SCORING if name.startswith("tokens_")])
def test_texts_are_cut_into_the_recorded_tokens(kind: str) -> None:
    said, heard = tokens(kind)
    recorded = SCORING[f"tokens_{kind}"]
    assert {str(i): {"ref": s, "hyp": h} for i, (s, h) in enumerate(zip(said, heard, strict=True))} == recorded


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_counted_as_the_reference_counts_them(kind: str) -> None:
    report, recorded = wenet_score(*tokens(kind)), SCORING[kind]

    assert {str(i): as_recorded(errors) for i, errors in enumerate(report.sentences)} == recorded["utts"]
    assert as_recorded(report.overall) == recorded["overall"]
    assert {name: round(100 * errors.rate, 2) for name, errors in report.scripts.items()} == recorded["clusters"]


@pytest.mark.parametrize("case", [SCORING] if SCORING else [], ids=["scoring"] if SCORING else [])
def test_an_evaluation_counts_by_that_rule_if_asked(case: dict[str, Any]) -> None:
    for number, pair in enumerate(case["pairs"]):
        found = compare_texts(pair["ref"], pair["hyp"], rule="wenet")
        recorded = case["wer_char1"]["utts"][str(number)]
        assert found.tokens == recorded["N"]
        assert found.errors == recorded["S"] + recorded["D"] + recorded["I"]


@pytest.mark.parametrize("number", range(len(SCORING.get("sqa", {}).get("items", []))))
def test_an_answer_is_judged_as_the_reference_judges_it(number: int) -> None:
    item = SCORING["sqa"]["items"][number]

    assert is_contained(item["pred"], references(item)) == item["correct"]


def references(item: dict[str, Any]) -> list[str]:
    return [item["gt"]] if isinstance(item["gt"], str) else item["gt"]


@pytest.mark.parametrize("case", [SCORING["sqa"]] if SCORING else [], ids=["sqa"] if SCORING else [])
def test_the_share_of_right_answers_is_the_recorded_one(case: dict[str, Any]) -> None:
    answers = [item["pred"] for item in case["items"]]

    assert round(100 * containment(answers, [references(item) for item in case["items"]]), 2) == case["accuracy"]
