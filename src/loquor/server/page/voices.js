/* The voices of the server: fetched, named for people, and offered in selects. */

import { ask } from "./api.js";
import { changes, languageName, t } from "./strings.js";

const BUILT_IN = /^([a-z]{2,3})-(.+?)(?:_(woman|man))?$/; // such as en-Clara_woman

export const voices = { all: [] }; // as GET /v1/audio/voices lists them
const selects = new Set();

/** Fetch them; throws Refusal. */
export async function refreshVoices() {
  voices.all = (await ask("v1/audio/voices")).voices;
  selects.forEach(fill);
}

export async function deleteVoice(voice) {
  await ask(`v1/audio/voices/${encodeURIComponent(voice.id)}`, { method: "DELETE" });
  await refreshVoices();
}

/** A voice's name, its language and whose sound it is. */
export function nameOf(voice) {
  const [, , name, person] = (!voice.uploaded && voice.id.match(BUILT_IN)) || [null, null, voice.name, null];
  return [name, voice.language && languageName(voice.language), person && t(person)].filter(Boolean).join(t("comma"));
}

/** Let a select offer all voices, now and whenever they change; the `nth` is chosen at first. */
export function offerVoices(select, nth = 0) {
  select.dataset.nth = nth;
  selects.add(select);
  fill(select);
}

export function withdrawVoices(select) {
  selects.delete(select);
}

function fill(select) {
  const chosen = select.value;
  const own = voices.all.filter((voice) => voice.uploaded), shared = voices.all.filter((voice) => !voice.uploaded);
  select.replaceChildren(...group("voices_yours", own), ...group("voices_shared", shared));
  if (!shared.length) select.append(new Option(t("voice_default"), "default"));
  const offered = shared.length ? shared.map((voice) => voice.id) : ["default"];
  select.value = chosen;
  if (!select.value) select.value = offered[select.dataset.nth % offered.length];
}

function group(label, members) {
  if (!members.length) return [];
  const element = Object.assign(document.createElement("optgroup"), { label: t(label) });
  element.append(...members.map((voice) => new Option(nameOf(voice), voice.id)));
  return [element];
}

changes.addEventListener("change", () => selects.forEach(fill));
