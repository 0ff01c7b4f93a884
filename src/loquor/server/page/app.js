/* The page: what is on it, tied together. */

import { ask, keepKey, key } from "./api.js";
import { Dialogue } from "./dialogue.js";
import { Script } from "./marks.js";
import { Stage } from "./stage.js";
import { changes, digits, number, switchLanguage, t, translate } from "./strings.js";
import { setUpTheme } from "./theme.js";
import { Typing } from "./typing.js";
import { setUpVoiceDialog } from "./voice_dialog.js";
import { offerVoices, refreshVoices, voices } from "./voices.js";
import { wavFile } from "./wav.js";
import { Wave } from "./wave.js";
import { SpokenText } from "./words.js";

const FIRST_TEXT = "Write anything here, and hear each word as it is spoken.";
const model = { reads_scripts: false }; // what the server tells of it
const part = (name) => document.getElementById(name);

const text = new SpokenText({ id: "text" });
const stage = new Stage(new Wave(part("wave")));
const dialogue = new Dialogue(tell);
const typing = new Typing(text, stage, { isOn: () => part("live").checked, open: openForTyping });
const isDialogue = () => part("modes").querySelector(":checked").value === "dialogue";

/** Say plainly what went wrong, or nothing. */
function complain(message = "") {
  part("problem").textContent = message;
  part("problem").hidden = !message;
}

/** Tell of what happens, where a screen reader listens. */
function tell(message) {
  if (part("status").textContent !== message) part("status").textContent = message;
}

/** An error in words; one about the key asks for it. */
function explain(error) {
  if (error.status === undefined) return error.message;
  if (error.status === 401) {
    part("key-form").hidden = false;
    return key() ? t("key_wrong") : t("key_label");
  }
  if (error.status === 0) return t("no_answer");
  if (error.retry_after_s) return t("busy", { n: digits(Math.ceil(error.retry_after_s)) });
  return `${t("refused")} ${error.message}`;
}

/** Guidance, steps and seed; throws if one is no number. */
function settings() {
  const read = (name) => {
    const value = number(part(name).value);
    part(name).ariaInvalid = Number.isNaN(value);
    if (Number.isNaN(value)) {
      part("settings").open = true;
      throw new Error(t("not_a_number", { name: t(name) }));
    }
    return value;
  };
  return { guidance: read("guidance"), steps: read("steps"), seed: read("seed") ?? 0 };
}

const rate = () => voices.all[0]?.sample_rate ?? 24000;

function speak() {
  complain();
  const parts = isDialogue() ? spokenTurns() : text.value.trim() ? [{ field: text, voice: part("voice").value }] : [];
  if (!parts.length) {
    complain(t("nothing_to_say"));
    return;
  }
  try {
    stage.say(parts, settings(), rate());
    typing.reset();
  } catch (error) {
    complain(explain(error));
  }
}

/** The dialogue's turns: all in one, for a model that reads scripts. */
function spokenTurns() {
  const { turns } = dialogue;
  if (!model.reads_scripts || !turns.length) return turns;
  const cast = Object.fromEntries(turns.map(({ number, voice }) => [`Speaker ${number}`, voice]));
  return [{ field: new Script(turns), cast }];
}

/** The voice to go on with; null if there cannot be a take. */
function openForTyping() {
  complain();
  try {
    if (!stage.isOpen) stage.open(settings(), rate());
    return part("voice").value;
  } catch (error) {
    complain(explain(error));
    return null;
  }
}

function showState({ detail: position }) {
  const { state, heard, isActive } = stage;
  const said = {
    queued: () => (position === 1 ? t("queued_next") : t("queued", { n: digits(position) })),
    speaking: () => (heard?.speaker ? t("speaking_turn", { name: heard.speaker }) : t("speaking")),
    idle: () => (matchMedia("(hover: hover)").matches ? t("hint") : ""),
  };
  tell(said[state]?.() ?? t(state));
  part("speak").dataset.t = isActive ? "stop" : "speak";
  part("speak").textContent = t(part("speak").dataset.t);
  part("speak").classList.toggle("stops", isActive);
  document.body.dataset.state = state;
  showToggle();
}

function showToggle() {
  const { player } = stage, name = player.isPlaying ? "pause" : "play";
  part("toggle").disabled = part("save").disabled = part("seek").disabled = !player.samples;
  part("toggle-name").dataset.t = name;
  part("toggle-name").textContent = t(name);
  part("toggle").querySelector("use").setAttribute("href", `#icon-${name}`);
}

function showProgress() {
  const { player, total_s, wave } = stage, position_s = player.position;
  wave.draw(position_s, total_s);
  if (part("seek").disabled === Boolean(player.samples)) showToggle();
  part("seek").max = total_s.toFixed(1);
  part("seek").value = position_s.toFixed(1);
  const [at, total] = [digits(position_s, 1), digits(total_s, 1)];
  part("seek").ariaValueText = t("position_text", { at, total });
  const shown = (value, sentence) => (value ? sentence(value) : "–");
  part("length").textContent = shown(player.seconds, (s) => t("seconds", { n: digits(s, 1) }));
  part("first-audio").textContent = shown(stage.first_audio_ms, (ms) => t("milliseconds", { n: digits(ms) }));
  part("rtf").textContent = shown(stage.rtf, (rtf) => digits(rtf, 2));
}

function save() {
  const file = URL.createObjectURL(wavFile(stage.player.chunks, stage.player.rate, true));
  Object.assign(document.createElement("a"), { href: file, download: "speech.wav" }).click();
  setTimeout(() => URL.revokeObjectURL(file), 1000);
}

async function fetchVoices() {
  try {
    Object.assign(model, await ask("page/model.json"));
    await refreshVoices();
    part("key-form").hidden = true;
    complain();
  } catch (error) {
    complain(explain(error));
  }
}

part("text-field").append(text.element);
text.value = FIRST_TEXT;
offerVoices(part("voice"));
setUpTheme(part("theme"), part("theme-name"));
setUpVoiceDialog(explain, (voice) => {
  part("voice").value = voice.id;
  tell(t("made_voice", { name: voice.name }));
  part("voices").focus();
});

stage.addEventListener("state", showState);
stage.addEventListener("progress", showProgress);
stage.addEventListener("problem", ({ detail }) => complain(explain(detail)));
part("speak").addEventListener("click", () => (stage.isActive ? stage.stop() : speak()));
part("toggle").addEventListener("click", () => {
  const { player } = stage, isAtEnd = player.position >= player.seconds - 0.05;
  if (player.isPlaying) stage.pause();
  else stage.play(isAtEnd ? 0 : player.position);
});
part("seek").addEventListener("input", ({ target }) => stage.play(Number(target.value)));
part("save").addEventListener("click", save);
part("language").addEventListener("click", switchLanguage);
part("modes").addEventListener("change", () => {
  stage.stop();
  part("text-mode").hidden = isDialogue();
  part("dialogue-mode").hidden = !isDialogue();
  document.querySelector(".voice-choice").classList.toggle("cast-chosen", isDialogue());
});
part("live").addEventListener("change", () => typing.reset());
part("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(part("key").value.trim());
  part("key").value = "";
  fetchVoices();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) speak();
  if (event.key === "Escape" && stage.isActive) stage.stop();
});
changes.addEventListener("change", () => {
  text.area.ariaLabel = t("text_label");
  text.area.placeholder = t("text_placeholder");
  showState({ detail: 0 });
  showProgress();
});

translate();
fetchVoices();
