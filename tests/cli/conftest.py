"""`loquor` from outside: a model of the real architecture in miniature, and a way to run commands in this process."""

import contextlib
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from loquor.cli.main import run
from loquor.engine.speaker import fingerprint_of
from loquor.models.codec import CodecConfig
from loquor.models.realtime.checkpoint import export_realtime
from loquor.models.realtime.model import RealtimeConfig, RealtimeModel
from loquor.models.realtime.prompt import prefill
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config
from loquor.text.phoneme_tokenizer import SYMBOLS
from loquor.voices.voice import Voice

HIDDEN, LATENT, FRAMES = 32, 8, 4
DECODER = {
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": len(SYMBOLS),
    "max_position_embeddings": 2048,
}


def toy_config():
    return RealtimeConfig(
        text=Qwen2Config(num_hidden_layers=1, **DECODER),
        speech=Qwen2Config(num_hidden_layers=2, **DECODER),
        codec=CodecConfig(
            vae_dim=LATENT,
            encoder_ratios=(8, 5, 5),
            encoder_depths="1-1-1-1",
            patch_samples=16,
            encoder_n_filters=8,
            decoder_n_filters=8,
            layer_scale_init_value=0.5,
        ),
        head=DiffusionHeadConfig(hidden_size=HIDDEN, latent_size=LATENT, head_layers=1),
        utterance_tokens=20,
    )


def export_toy(folder, ends):
    """A random model whose utterances all end with their first frame, or run into the limit; one voice, `Toy`."""
    torch.manual_seed(0)
    model = RealtimeModel(toy_config()).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(0, 0.1) if not parameter.any() else None  # what starts at zero would be taken for untrained
    model.end_classifier.fc2.bias.fill_(100.0 if ends else -100.0)
    model.latent_scale.scale.fill_(1.0)
    model.latent_scale.bias.fill_(0.0)
    export_realtime(model, folder)
    (folder / "tokenizer.json").write_text(json.dumps({"type": "phoneme", "symbols": list(SYMBOLS)}), encoding="utf-8")
    (folder / "loquor.json").write_text(json.dumps({"voice": "Toy", "guidance": 1.3, "steps": 2}), encoding="utf-8")
    tensors = prefill(model, torch.tensor([[5, 6, 7]]), torch.randn(1, FRAMES, LATENT), negative_id=1)
    for name in ("Toy", "en-Ada_woman"):
        card = {"language": "en", "source": "made up", "model": fingerprint_of(model.config)}
        Voice(name=name, tensors=tensors, **card).save(folder / "voices" / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory):
    """Says one frame, 0.133 s, an utterance."""
    return export_toy(tmp_path_factory.mktemp("models") / "toy", ends=True)


@pytest.fixture(scope="session")
def talkative(tmp_path_factory):
    """Never ends by itself: says some ten seconds."""
    return export_toy(tmp_path_factory.mktemp("models") / "talkative", ends=False)


@pytest.fixture(autouse=True)
def own_voices(tmp_path, monkeypatch):
    """A user's folder of the test's own, not there yet."""
    folder = tmp_path / "home" / "voices"
    monkeypatch.setenv("LOQUOR_VOICES", str(folder))
    return folder


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def text(self):
        return self.out.decode()

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def loquor(capfdbinary, monkeypatch, tmp_path):
    """Runs a command as the shell would, in an empty folder: `loquor("speak", "Hello.", stdin=b"")`.

    `streams` replace stdout or stderr.
    """
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def invoke(*arguments, stdin=b"", **streams):
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(stdin)
        monkeypatch.setattr(sys, "argv", ["loquor", *map(str, arguments)])
        capfdbinary.readouterr()
        with os.fdopen(reading) as pipe, as_it_was():
            for name, stream in ({"stdin": pipe} | streams).items():
                monkeypatch.setattr(sys, name, stream)
            with pytest.raises(SystemExit) as end:
                run()
        out, err = capfdbinary.readouterr()
        return Done(end.value.code, out, err.decode())

    return invoke


@contextlib.contextmanager
def as_it_was():
    """A command is a process of its own elsewhere: what it sets for the process is set back here."""
    root, ours = logging.getLogger(), logging.getLogger("loquor")
    kept = root.handlers[:], root.level, ours.level, signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        root.handlers[:] = kept[0]
        root.setLevel(kept[1])
        ours.setLevel(kept[2])
        signal.signal(signal.SIGTERM, kept[3])


@pytest.fixture
def command():
    """The command line of a real process, for tests of pipes and signals."""
    source = Path(__file__).resolve().parents[2] / "src"
    program = f"import sys; sys.path.insert(0, {str(source)!r}); from loquor.cli.main import run; run()"
    return [sys.executable, "-c", program]
