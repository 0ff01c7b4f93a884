/* The dialogue editor: speakers with a voice each, and turns, each said by one of them. */

import { changes, digits, t } from "./strings.js";
import { offerVoices, withdrawVoices } from "./voices.js";
import { SpokenText } from "./words.js";

const MOST_SPEAKERS = 4; // what long-form models can tell apart
const LINE = /^\s*([\p{L}\p{N}][^:：\n]{0,30})[:：]\s*(\S.*)$/u; // Anna: Hello.
const part = (name) => document.getElementById(name);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function iconButton(icon, act) {
  const button = make("button", { type: "button", className: "quiet icon" });
  button.innerHTML = `<svg aria-hidden="true"><use href="#icon-${icon}"/></svg>`;
  button.addEventListener("click", act);
  return button;
}

export class Dialogue {
  #speakers = []; // {name: input, voice: select, element}
  #turns = []; // {who: select, field: SpokenText, element, buttons}
  #made = 0;

  /** `say(message)` tells a screen reader something. */
  constructor(say) {
    this.say = say;
    part("add-turn").addEventListener("click", () => this.addTurn().field.area.focus());
    part("add-speaker").addEventListener("click", () => this.addSpeaker().name.focus());
    this.addSpeaker();
    this.addSpeaker();
    this.addTurn();
    this.addTurn();
    changes.addEventListener("change", () => this.#name());
  }

  /** Turns with something in them: {field, number, speaker, voice}, of which `number` is the speaker's. */
  get turns() {
    return this.#turns
      .filter((turn) => turn.field.value.trim())
      .map(({ field, who }) => {
        const { name, voice } = this.#speakers[who.value];
        const number = Number(who.value) + 1;
        return { field, number, speaker: name.value || name.placeholder, voice: voice.value };
      });
  }

  addSpeaker(name = "") {
    const speaker = { name: make("input", { value: name, autocomplete: "off", dir: "auto" }), voice: make("select") };
    speaker.remove = iconButton("remove", () => this.#removeSpeaker(speaker));
    speaker.element = make("div", { className: "speaker" }, speaker.name, speaker.voice, speaker.remove);
    speaker.name.addEventListener("input", () => this.#name());
    offerVoices(speaker.voice, this.#speakers.length);
    this.#speakers.push(speaker);
    part("cast").append(speaker.element);
    this.#name();
    return speaker;
  }

  #removeSpeaker(speaker) {
    const gone = this.#speakers.indexOf(speaker);
    this.#speakers.splice(gone, 1);
    withdrawVoices(speaker.voice);
    speaker.element.remove();
    for (const { who } of this.#turns) who.value = who.value > gone ? who.value - 1 : Math.min(who.value, this.#speakers.length - 1);
    this.#name();
    this.#speakers[0].name.focus();
  }

  /** A turn after `before`, or at the end, of the speaker whose turn it would be. */
  addTurn(before = this.#turns.at(-1), text = "") {
    const turn = { who: make("select", { className: "who" }), field: new SpokenText({ id: `turn-${this.#made++}` }) };
    turn.buttons = make("div", { className: "order" });
    turn.buttons.append(
      iconButton("up", () => this.#move(turn, -1)),
      iconButton("down", () => this.#move(turn, 1)),
      iconButton("remove", () => this.#removeTurn(turn)),
    );
    turn.element = make("li", { className: "turn" }, turn.who, turn.field.element, turn.buttons);
    turn.field.area.addEventListener("keydown", (event) => this.#key(turn, event));
    turn.field.area.addEventListener("paste", (event) => this.#paste(turn, event));
    const place = before ? this.#turns.indexOf(before) + 1 : 0;
    const last = before ? Number(before.who.value) : -1;
    this.#turns.splice(place, 0, turn);
    part("turns").insertBefore(turn.element, part("turns").children[place] ?? null);
    this.#name();
    turn.who.value = (last + 1) % this.#speakers.length;
    turn.field.value = text;
    return turn;
  }

  #removeTurn(turn) {
    const place = this.#turns.indexOf(turn);
    if (this.#turns.length === 1) {
      turn.field.value = "";
      return;
    }
    this.#turns.splice(place, 1);
    turn.element.remove();
    this.#name();
    this.#turns[Math.max(0, place - 1)].field.area.focus();
  }

  #move(turn, step) {
    const from = this.#turns.indexOf(turn), to = from + step;
    if (to < 0 || to >= this.#turns.length) return;
    const focused = document.activeElement;
    this.#turns.splice(to, 0, ...this.#turns.splice(from, 1));
    part("turns").insertBefore(turn.element, part("turns").children[step > 0 ? to + 1 : to] ?? null);
    focused.focus();
    this.#name();
    this.say(t("turn_moved", { n: digits(to + 1) }));
  }

  #key(turn, event) {
    const { key, altKey, shiftKey, ctrlKey, metaKey, isComposing } = event;
    if (isComposing || ctrlKey || metaKey) return;
    if (altKey && (key === "ArrowUp" || key === "ArrowDown")) this.#move(turn, key === "ArrowUp" ? -1 : 1);
    else if (key === "Enter" && !shiftKey) this.addTurn(turn).field.area.focus();
    else if (key === "Backspace" && !turn.field.value && this.#turns.length > 1) this.#removeTurn(turn);
    else return;
    event.preventDefault();
  }

  /** Lines of a script become turns, their names speakers, as far as there can be so many. */
  #paste(turn, event) {
    const lines = event.clipboardData.getData("text").split("\n").filter((line) => line.trim());
    const said = lines.map((line) => line.match(LINE));
    if (said.length < 2 || said.some((each) => !each)) return;
    const names = [...new Set(said.map(([, name]) => name.trim()))];
    if (names.length > MOST_SPEAKERS) return;
    event.preventDefault();
    while (this.#speakers.length < names.length) this.addSpeaker();
    names.forEach((name, i) => (this.#speakers[i].name.value = name));
    let last = turn;
    for (const [, name, text] of said) {
      last = this.addTurn(last, text);
      last.who.value = names.indexOf(name.trim());
    }
    for (const each of [...this.#turns]) if (!each.field.value) this.#removeTurn(each);
    this.#name();
    last.field.area.focus();
  }

  /** Give everything its name and number, in the page's language. */
  #name() {
    const label = (element, text) => (element.ariaLabel = text);
    this.#speakers.forEach(({ name, voice, remove }, i) => {
      name.placeholder = t("speaker", { n: digits(i + 1) });
      label(name, t("speaker_name", { n: digits(i + 1) }));
      label(voice, t("speaker_voice", { name: name.value || name.placeholder }));
      label(remove, t("remove_speaker", { name: name.value || name.placeholder }));
      remove.hidden = this.#speakers.length <= 2;
    });
    part("add-speaker").hidden = this.#speakers.length >= MOST_SPEAKERS;
    const names = this.#speakers.map(({ name }) => name.value || name.placeholder);
    this.#turns.forEach(({ who, field, buttons }, i) => {
      const n = digits(i + 1), chosen = who.value || 0;
      who.replaceChildren(...names.map((name, place) => new Option(name, place)));
      who.value = chosen;
      label(who, t("turn_speaker", { n }));
      label(field.area, t("turn", { n }));
      ["turn_up", "turn_down", "turn_remove"].forEach((name, at) => label(buttons.children[at], t(name, { n })));
      buttons.children[0].disabled = i === 0;
      buttons.children[1].disabled = i === this.#turns.length - 1;
    });
  }
}
