"""Who may ask, how often, and whose voices they see."""

from __future__ import annotations

import io
from pathlib import Path

import httpx2
import numpy as np
import openai
import pytest
import soundfile

from loquor.engine.speaker import Speaker
from loquor.errors import ConfigError
from loquor.server.keys import ANONYMOUS, Guard, new_key, read_keys, remove_keys, save_keys
from loquor.server.refusals import RefusedError, UnauthorisedError
from loquor.server.service import Limits
from server_fixtures import Running, Serve

CONSENT = "Ada agreed to demos, 3 May"


def recording() -> bytes:
    """Five seconds of noise in syllables."""
    t = np.arange(5 * 24000) / 24000
    sound = 0.1 * np.sin(2 * np.pi * 3 * t) * np.random.default_rng(0).standard_normal(len(t))
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, 24000, format="WAV")
    return buffer.getvalue()


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


# Keys


def test_a_key_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    secret, key = new_key("ada")
    save_keys(tmp_path / "keys.json", [key])
    assert secret not in (tmp_path / "keys.json").read_text()
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    guard = Guard(tmp_path / "keys.json")
    for headers in (bearer(secret), {"authorization": f"bearer  {secret}"}, {"xi-api-key": secret}):
        assert guard.client(headers).name == "ada"
    assert guard.client({}, given=secret).name == "ada"
    for headers in ({}, bearer("lq-wrong"), bearer(""), bearer(key.sha256), {"authorization": f"Basic {secret}"}):
        with pytest.raises(UnauthorisedError):
            guard.client(headers)


def test_half_a_surrogate_pair_is_a_key_nobody_has(tmp_path: Path) -> None:
    save_keys(tmp_path / "keys.json", [new_key("ada")[1]])
    with pytest.raises(UnauthorisedError, match="not known"):
        Guard(tmp_path / "keys.json").client({}, given="\ud800")


def test_without_a_file_of_keys_everybody_may_ask() -> None:
    assert Guard(None).client({}) is ANONYMOUS


def test_a_key_that_is_taken_out_opens_nothing_any_more(tmp_path: Path) -> None:
    path, (secret, key), (_, other) = tmp_path / "keys.json", new_key("ada"), new_key("bob")
    save_keys(path, [key, other])
    guard = Guard(path)
    guard.client(bearer(secret))
    save_keys(path, remove_keys(read_keys(path), "ada"))
    with pytest.raises(UnauthorisedError, match="not known"):
        guard.client(bearer(secret))


def test_a_rate_is_kept_and_time_gives_it_back(tmp_path: Path) -> None:
    now, (secret, key) = [100.0], new_key("ada", per_minute=3)
    save_keys(tmp_path / "keys.json", [key])
    guard = Guard(tmp_path / "keys.json", clock=lambda: now[0])
    for _ in range(3):
        guard.client(bearer(secret))
    with pytest.raises(RefusedError) as caught:
        guard.client(bearer(secret))
    assert caught.value.is_theirs and caught.value.retry_after_s == pytest.approx(20)
    now[0] += 20.1
    guard.client(bearer(secret))
    with pytest.raises(RefusedError):
        guard.client(bearer(secret))


@pytest.mark.parametrize("text", ["", "[]", '{"keys": 3}', '{"keys": [{"name": "ada"}]}'])
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.json"):
        Guard(tmp_path / "keys.json")


def test_over_http_an_unknown_key_is_401_and_a_fast_one_429(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, keys={"ada": {"per_minute": 2}})
    with pytest.raises(openai.AuthenticationError) as unknown:
        running.client("lq-wrong").models.list()
    assert unknown.value.code == "invalid_api_key"
    assert httpx2.get(f"{running.url}/v1/audio/voices", timeout=60).status_code == 401
    for _ in range(2):
        running.client("ada").models.list()
    with pytest.raises(openai.RateLimitError) as fast:
        running.client("ada").models.list()
    assert int(fast.value.response.headers["retry-after"]) > 0


def test_a_key_speaks_no_more_often_at_once_than_it_may(serve: Serve, talkative: Speaker) -> None:
    running = serve(talkative, keys={"ada": {"at_once": 1}, "bob": {}})
    create = running.client("ada").audio.speech.with_streaming_response.create
    with create(model="toy", voice="Toy", input="One. " * 300, response_format="pcm") as reply:
        parts = reply.iter_bytes()
        next(parts)
        with pytest.raises(openai.RateLimitError, match="more than 1 requests at once"):
            running.client("ada").audio.speech.create(model="toy", voice="Toy", input="Two.")
        running.client("bob").audio.speech.create(model="toy", voice="Toy", input="Two.")


# Voices


def upload(
    running: Running, key: str, name: str = "ada", sound: bytes = b"", consent: str = CONSENT
) -> httpx2.Response:
    return httpx2.post(
        f"{running.url}/v1/audio/voices",
        headers=bearer(running.keys[key]),
        data={"name": name, "consent": consent, "language": "en"},
        files={"audio_sample": ("../../ada.wav", sound or recording(), "audio/wav")},
        timeout=60,
    )


def names(running: Running, key: str) -> list[str]:
    reply = httpx2.get(f"{running.url}/v1/audio/voices", headers=bearer(running.keys[key]), timeout=60)
    return [voice["name"] for voice in reply.json()["voices"]]


def test_an_uploaded_voice_is_its_clients_alone(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, keys={"ada": {}, "bob": {}})
    made = running.client("ada").audio.voices.create(  # OpenAI's client, and its fields
        name="mine", audio_sample=("a.wav", recording(), "audio/wav"), consent=CONSENT
    )
    assert made.name == "mine" and made.object == "audio.voice" and made.id.startswith("voice_")
    assert names(running, "ada") == ["mine", "Toy"] and names(running, "bob") == ["Toy"]
    for voice in ("mine", made.id):
        sound = running.client("ada").audio.speech.create(model="toy", voice=voice, input="Hello.")
        assert len(sound.content) > 500
        with pytest.raises(openai.NotFoundError):
            running.client("bob").audio.speech.create(model="toy", voice=voice, input="Hello.")
        with pytest.raises(openai.NotFoundError):
            running.client("bob").audio.voices.delete(voice)
    assert running.client("ada").audio.voices.delete(made.id).deleted
    assert names(running, "ada") == ["Toy"]


def test_without_consent_there_is_no_voice(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, keys={"ada": {}})
    assert upload(running, "ada", consent=" ").status_code == 400
    assert names(running, "ada") == ["Toy"]


@pytest.mark.parametrize("name", ["", "../escape", "a/b", "default", "alloy", "x" * 200, "new\nline"])
def test_a_name_that_cannot_be_is_refused(serve: Serve, speaker: Speaker, name: str, tmp_path: Path) -> None:
    running = serve(speaker, keys={"ada": {}})
    assert upload(running, "ada", name=name).status_code == 400
    assert not list(tmp_path.rglob("*escape*"))


def test_a_name_is_given_once(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, keys={"ada": {}})
    assert upload(running, "ada").status_code == 200
    again = upload(running, "ada")
    assert again.status_code == 400 and "taken" in again.json()["error"]["message"]


@pytest.mark.parametrize("sound", [b"no sound at all", b"RIFF", b"#EXTM3U\nfile:///etc/passwd\n"])
def test_what_is_no_recording_makes_no_voice(serve: Serve, speaker: Speaker, sound: bytes) -> None:
    reply = upload(serve(speaker, keys={"ada": {}}), "ada", sound=sound)
    assert reply.status_code == 400 and "no audio that can be read" in reply.json()["error"]["message"]


def test_an_upload_that_is_too_large_is_turned_away(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, Limits(upload_bytes=10_000), keys={"ada": {}})
    assert upload(running, "ada").status_code == 413


def test_only_uploaded_voices_can_be_deleted(serve: Serve, speaker: Speaker, toy_folder: Path) -> None:
    with pytest.raises(openai.NotFoundError, match="you have no voice 'Toy'"):
        serve(speaker).client().audio.voices.delete("Toy")
    assert (toy_folder / "voices" / "Toy.safetensors").is_file()


# Transcription


class Ears:
    """Hears how long something is."""

    def transcribe(self, waveform: np.ndarray, sample_rate_hz: int) -> str:
        return f"{len(waveform) / sample_rate_hz:.1f} seconds"


def test_a_recording_is_written_down_where_there_is_a_transcriber(serve: Serve, speaker: Speaker) -> None:
    create = serve(speaker, transcriber=Ears()).client().audio.transcriptions.create
    assert create(model="whisper-1", file=("a.wav", recording())).text == "5.0 seconds"
    assert create(model="whisper-1", file=("a.wav", recording()), response_format="text") == "5.0 seconds\n"
    whole = create(model="whisper-1", file=("a.wav", recording()), response_format="verbose_json")
    assert whole.text == "5.0 seconds" and whole.duration == pytest.approx(5.0)


def test_without_a_transcriber_that_is_said(serve: Serve, speaker: Speaker) -> None:
    with pytest.raises(openai.InternalServerError, match="has no transcriber") as caught:
        serve(speaker).client().audio.transcriptions.create(model="whisper-1", file=("a.wav", recording()))
    assert caught.value.status_code == 501
