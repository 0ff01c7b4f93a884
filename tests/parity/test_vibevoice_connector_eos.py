"""Golden d: the speech connector and the classifier that ends an utterance."""

from __future__ import annotations

import pytest
import torch

from loquor.checkpoints import Files, load, without_memory
from loquor.models.connector import Connector, connector_keys
from loquor.models.realtime.checkpoint import end_classifier_keys
from loquor.models.realtime.model import EndClassifier
from parity.goldens import Golden

CASE = "d_connector_eos"


class Both(torch.nn.Module):
    """The two parts of the case's file."""

    def __init__(self, input_dim: int, hidden_size: int) -> None:
        super().__init__()
        self.connector, self.end_classifier = Connector(input_dim, hidden_size), EndClassifier(hidden_size)


def parts(golden: Golden) -> Both:
    with without_memory(golden.folder):
        both = Both(**golden.config)
    names = connector_keys("model.acoustic_connector.", "connector.")
    load(both, Files(golden.folder), [*names, *end_classifier_keys("tts_eos_classifier.", "end_classifier.")])
    return both.requires_grad_(False)


@pytest.mark.parametrize("case", [CASE])
def test_the_connector_embeds_latents_as_the_reference_does(case: str) -> None:
    with Golden.open("vibevoice", case, "connector/") as golden:
        output = parts(golden).connector(golden["connector/features"])
        golden.check("connector/output", output, golden.about["tolerance"])


@pytest.mark.parametrize("case", [CASE])
def test_the_end_of_speech_is_as_likely_as_in_the_reference(case: str) -> None:
    with Golden.open("vibevoice", case, "eos/") as golden:
        logits = parts(golden).end_classifier(golden["eos/hidden"])[..., None]
        golden.check("eos/logits", logits, golden.about["tolerance"])
        golden.check("eos/prob", torch.sigmoid(logits), golden.about["tolerance"])
