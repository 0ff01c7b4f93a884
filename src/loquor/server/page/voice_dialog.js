/* The dialog where somebody makes a voice of a recording, with the consent of who speaks in it, and deletes voices. */

import { ask } from "./api.js";
import { Recording } from "./recorder.js";
import { changes, digits, t } from "./strings.js";
import { deleteVoice, refreshVoices, voices } from "./voices.js";
import { decoded, wavFile } from "./wav.js";

const RATE_HZ = 24000; // what voices are made at
const SHORTEST_S = 3;
const part = (name) => document.getElementById(name);

/** Set the dialog up. `explain(refusal)` puts an error in words; `made(voice)` hears of a new voice. */
export function setUpVoiceDialog(explain, made) {
  const dialog = part("voice-dialog"), problem = part("voice-problem");
  let sample = null; // Blob
  let recording = null;

  const complain = (message) => {
    problem.textContent = message;
    problem.hidden = !message;
  };

  /** Run something that may fail, and say why if it does. */
  const trying = async (work) => {
    complain("");
    try {
      await work();
    } catch (error) {
      complain(explain(error));
    }
  };

  const take = async (file) => {
    sample = null;
    part("preview").hidden = true;
    part("recorded").textContent = "";
    let seconds = null;
    try {
      const samples = await decoded(file, RATE_HZ);
      seconds = samples.length / RATE_HZ;
      file = wavFile([samples], RATE_HZ, false);
    } catch {
      // a kind this browser cannot read: perhaps the server can
    }
    if (seconds !== null && seconds < SHORTEST_S) {
      complain(t("recorded_short", { n: digits(seconds, 1) }));
      return;
    }
    sample = file;
    URL.revokeObjectURL(part("preview").src);
    part("preview").src = URL.createObjectURL(file);
    part("preview").hidden = false;
    if (seconds !== null) part("recorded").textContent = t("recorded", { n: digits(seconds, 1) });
  };

  const record = async () => {
    if (recording) {
      recording.stop();
      return;
    }
    complain("");
    if (!navigator.mediaDevices) {
      complain(t("no_microphone", { why: t("not_secure") }));
      return;
    }
    try {
      recording = await Recording.begin((seconds, level) => {
        part("level").value = level;
        part("record").dataset.seconds = digits(seconds);
      });
    } catch (error) {
      complain(t("no_microphone", { why: error.message }));
      return;
    }
    showRecording(true);
    const file = await recording.over;
    recording = null;
    showRecording(false);
    if (dialog.open) await take(file);
  };

  const make = async () => {
    if (!sample) throw new Error(t("no_recording"));
    const fields = new FormData();
    fields.set("name", part("voice-name").value.trim());
    fields.set("audio_sample", sample, "sample.wav");
    fields.set("consent", part("consent").value);
    fields.set("ref_text", part("ref-text").value);
    part("voice-make").disabled = true;
    part("recorded").textContent = t("making_voice");
    try {
      const voice = await ask("v1/audio/voices", { method: "POST", body: fields });
      await refreshVoices();
      part("voice-form").reset();
      part("preview").hidden = true;
      sample = null;
      dialog.close();
      made(voice);
    } finally {
      part("voice-make").disabled = false;
      part("recorded").textContent = "";
    }
  };

  const listOwn = () => {
    const own = voices.all.filter((voice) => voice.uploaded);
    part("own-voices").replaceChildren(...own.map((voice) => ownVoice(voice, () => trying(() => deleteVoice(voice).then(listOwn)))));
  };

  const localise = () => {
    part("passage").textContent = t("passage");
    part("consent").placeholder = t("consent_placeholder");
    listOwn();
  };

  part("voices").addEventListener("click", () => {
    complain("");
    listOwn();
    dialog.showModal();
  });
  part("voice-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => recording?.stop());
  part("record").addEventListener("click", record);
  part("file").addEventListener("change", ({ target }) => target.files[0] && trying(() => take(target.files[0])));
  part("voice-form").addEventListener("submit", (event) => {
    event.preventDefault();
    trying(make);
  });
  changes.addEventListener("change", localise);
}

function showRecording(isOn) {
  const button = part("record");
  button.classList.toggle("on", isOn);
  button.firstElementChild.dataset.t = isOn ? "record_stop" : "record";
  button.firstElementChild.textContent = t(button.firstElementChild.dataset.t);
  delete button.dataset.seconds;
  part("level").hidden = !isOn;
}

/** A line with a voice's name and a button that deletes it, when pressed a second time. */
function ownVoice(voice, remove) {
  const line = document.createElement("li");
  const name = Object.assign(document.createElement("bdi"), { textContent: voice.name });
  const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet" });
  button.textContent = t("delete_voice", { name: voice.name });
  button.addEventListener("click", () => {
    if (button.dataset.sure) remove();
    button.dataset.sure = "yes";
    button.textContent = t("delete_sure", { name: voice.name });
  });
  line.append(name, button);
  return line;
}
