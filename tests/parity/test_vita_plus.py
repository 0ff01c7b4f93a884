"""Golden plus: SenseVoice's encoder and the projection, on a small model; and the loss of a Plus model."""

from __future__ import annotations

import torch

from loquor.models.vita.checkpoint import keys, load_vita
from loquor.training.vita.losses import VitaBatch, VitaTraining
from parity.gradients import assert_gradient_norms
from parity.vita import open_vita, vita_case

TOLERANCE = {"atol": 1e-4, "rtol": 0.0}  # what the fixtures suggest for hidden states
LOSS = {"atol": 1e-5, "rtol": 1e-5}
RECORDED = {  # the reference's names for some gradients, and whose they are
    "grad_norm_last_main_layer_mlp": "model.layers.{last}.mlp.up_proj.weight",
    "grad_norm_embed": "model.embed_tokens.weight",
    "grad_norm_lm_head": "lm_head.weight",
    "grad_norm_audio_projection": "model.audio_projection.mlp.0.weight",
    "grad_norm_mtp_proj0": "mtp_projs.0.weight",
}


def test_audio_is_heard_as_the_reference_hears_it() -> None:
    with open_vita("plus", "mini_plus", "audio0", "audio1", "encoder", "projected") as golden, torch.no_grad():
        listener = load_vita(golden.folder).listener
        assert listener is not None
        features = [golden["audio0"], golden["audio1"]]

        states, is_real = listener.encoder(features)

        lengths = golden["encoder_lens"]
        golden.check("encoder_lens", is_real.sum(1).to(lengths), TOLERANCE)
        golden.check("encoder_out", states, TOLERANCE)
        golden.check("projected", listener.projection(states), TOLERANCE)
        rows = torch.cat([row[:length] for row, length in zip(golden["projected"], lengths, strict=True)])
        torch.testing.assert_close(listener(features), rows, **TOLERANCE)


def test_the_loss_of_a_plus_model_and_its_gradients_are_the_recorded_ones() -> None:
    with open_vita("plus", "mini_plus", "labels", "loss") as golden:
        model, ids = load_vita(golden.folder).requires_grad_(True), golden["input_ids"]
        is_heard = torch.zeros_like(ids, dtype=torch.bool)
        for name in ("audio_indices0", "audio_indices1"):
            is_heard[golden[name][0, 0], golden[name][1, 0]] = True
        positions = torch.arange(ids.shape[1]).expand_as(ids)
        batch = VitaBatch(ids, golden["labels"], positions, is_heard, (golden["audio0"], golden["audio1"]))

        loss = VitaTraining(model, crosses_samples=True)(batch)["loss"]
        loss.backward()

        golden.check("loss", loss.detach().view(1), LOSS)
        recorded, last = vita_case("plus")["train"], model.config.decoder.num_hidden_layers - 1
        norms = {RECORDED[name].format(last=last): norm for name, norm in recorded.items() if name != "note"}
        assert_gradient_norms(model, keys(model.config), norms)
