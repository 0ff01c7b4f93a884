"""The checks of computation bite: whatever a part does otherwise than it must is found, in that part."""

from pathlib import Path

import pytest
import torch

import toy
import toy_vita
from loquor.evaluation.verification import codec, longform, realtime, vita
from loquor.models.codec import Codec, CodecConfig
from loquor.models.longform.checkpoint import load_longform
from loquor.models.realtime.model import EndClassifier
from loquor.models.vita.model import VitaModel
from loquor.nn.attention import Attention
from loquor.nn.conv import CausalConvTranspose1d, DepthwiseCausalConv1d
from loquor.nn.diffusion_head import DiffusionHead
from loquor.nn.norm import RMSNorm
from loquor.nn.qwen2 import GatedFeedForward
from parity.goldens import case_folder

TOLERANCE = 1e-4
NOWHERE = Path("no folder")


@torch.no_grad()
def failed(steps, components):
    """(component, what) of the checks that fail, of those components."""
    checks = [check for step in steps if step.component in components for check in step.look()]
    assert checks
    return {(check.component, check.what) for check in checks if check.verdict == "fail"}


def slightly_more(original):
    return lambda *arguments, **named: 1.01 * original(*arguments, **named)


@pytest.mark.parametrize(
    ("owner", "method", "spoil", "found"),
    [
        (GatedFeedForward, "forward", slightly_more, {("text_model", "feed-forward")}),
        (Attention, "forward", slightly_more, {("text_model", "attention")}),
        (RMSNorm, "forward", slightly_more, {("text_model", "norms")}),
        (Attention, "_continue", slightly_more, {("text_model", "with a cache")}),
        (DiffusionHead, "embed_timesteps", slightly_more, {("head", "all steps ahead")}),
        (
            EndClassifier,
            "forward",
            lambda original: lambda self, x: original(self, x) - original(self, x).mean(),
            {("end_classifier", "output"), ("end_classifier", "in a batch")},
        ),
        (
            DepthwiseCausalConv1d,
            "forward",
            lambda original: lambda self, x, state=None: original(self, x),
            {("codec.decoder", "streaming")},
        ),
        (CausalConvTranspose1d, "forward", slightly_more, {("codec.decoder", "waveform")}),
    ],
    ids=lambda value: getattr(value, "__name__", None) if isinstance(value, type) else None,
)
def test_a_part_that_computes_otherwise_is_found(owner, method, spoil, found, monkeypatch):
    model = toy.toy_model()
    components = {component for component, _ in found}
    assert failed(realtime.steps(model, NOWHERE, TOLERANCE), components) == set()
    monkeypatch.setattr(owner, method, spoil(getattr(owner, method)))
    assert found <= failed(realtime.steps(model, NOWHERE, TOLERANCE), components)


def test_a_prediction_module_that_mixes_its_requests_is_found(monkeypatch):
    model = toy_vita.toy_vita()
    components = {"predictors.0", "predictors.2", "end to end"}
    assert failed(vita.steps(model, NOWHERE, TOLERANCE), components) == set()
    honest = VitaModel.predict_on
    monkeypatch.setattr(
        VitaModel, "predict_on", lambda self, module, new, old, *rest: honest(self, module, new, old.flip(0), *rest)
    )
    found = failed(vita.steps(model, NOWHERE, TOLERANCE), components)
    assert {("predictors.0", "in slots of a cache"), ("predictors.2", "in slots of a cache")} <= found


def test_a_long_form_batch_that_mixes_its_streams_is_found(monkeypatch):
    folder = case_folder("vibevoice", "f_longform")
    if not folder.is_dir():
        pytest.skip("no mini checkpoint")
    model = load_longform(folder)
    assert failed(longform.steps(model, NOWHERE, TOLERANCE), {"end to end"}) == set()
    hear = type(model).hear
    monkeypatch.setattr(type(model), "hear", lambda self, sound, state: hear(self, sound, state).flip(0))
    assert ("end to end", "two scripts in a batch") in failed(longform.steps(model, NOWHERE, TOLERANCE), {"end to end"})


@pytest.mark.parametrize(
    "options",
    [
        {"layernorm": "LN", "disable_last_norm": False},
        {"mixer_layer": "conv", "conv_bias": False},
        {"layer_scale_init_value": 0.0, "layernorm_elementwise_affine": False},
        {"patch_samples": 4, "encoder_widths": (4, 6, 8), "decoder_widths": (8, 6, 4)},
    ],
    ids=str,
)
@torch.no_grad()
def test_every_kind_of_codec_equals_its_formula(options):
    config = CodecConfig(vae_dim=6, encoder_ratios=(3, 2), encoder_depths="1-1-1", encoder_n_filters=4, **options)
    built = Codec(config).eval()
    toy.randomise(built, seed=0)
    checks = [check for step in codec.steps("codec", built, TOLERANCE) for check in step.look()]
    assert {check.what for check in checks} >= {"latents", "waveform", "streaming", "there and back"}
    assert [check for check in checks if check.verdict == "fail"] == []
