/* One take: what the server says of one or several texts, played, drawn and shown word by word.

A take is turns, each of a field: {field, before, base, text, words, offset_s}. `before` is what stands in the field before
the turn's text, `base` how many code points that is, and `offset_s` when in the take the turn's audio begins. */

import { key } from "./api.js";
import { isUnchanged, showHeard } from "./marks.js";
import { Player } from "./player.js";
import { Speech } from "./speech.js";
import { Words } from "./words.js";

const BETWEEN_TURNS_S = 0.3;
const SENT_AHEAD = 8; // turns that wait at the server, which takes a limited number
const CHARACTERS_A_SECOND = 14; // how long a text may take, before it is known

/** Tells of "state", "progress" and "problem" (its `detail` is what the server said). */
export class Stage extends EventTarget {
  state = "idle"; // connecting, queued, speaking, stalled, paused, stopped or finished
  turns = [];
  #speech = null;
  #done = 0; // turns whose audio is all here
  #expected = 0; // turns that the take will have: Infinity where somebody may add more
  #unsent = []; // parts of which turns will be
  #frame = 0;
  #shown = null; // the turn that is

  constructor(wave) {
    super();
    this.wave = wave;
    this.player = new Player();
    this.player.addEventListener("change", () => this.#follow());
    this.player.addEventListener("finish", () => this.#rest("finished"));
  }

  /** Whether there is something to stop. */
  get isActive() {
    return this.#done < this.turns.length || this.player.isPlaying || this.state === "paused";
  }

  /** Whether turns can be added to the take. */
  get isOpen() {
    return this.#speech !== null;
  }

  /** The turn that is heard. */
  get heard() {
    const position_s = this.player.position;
    return this.turns.findLast((turn) => turn.offset_s !== null && turn.offset_s <= position_s) ?? this.turns[0];
  }

  /** Begin a take, in a click or a key press. `wish` says how it is to sound. */
  open(wish, rate) {
    this.stop();
    this.wave.clear();
    Object.assign(this, { turns: [], wish, compute_s: 0, first_audio_ms: null, rtf: null });
    this.#done = 0;
    this.#expected = Infinity;
    this.player.clear();
    this.player.wake(rate);
    this.began = performance.now();
    const on = {
      queue: (position) => this.player.isPlaying || this.#turnTo("queued", position),
      start: (turn) => this.#start(this.turns[turn]),
      audio: (turn, samples) => this.#take(samples),
      words: (turn, words) => this.turns[turn].words.add(words),
      done: (turn, facts) => this.#turnDone(facts),
      problem: (problem) => this.#fail(problem),
    };
    this.#speech = new Speech({ ...wish, ...(key() && { api_key: key() }) }, on);
  }

  /** Begin a turn that says `text`, and what is pushed later. */
  begin({ field, before = "", voice, cast, speaker = "" }) {
    if (this.turns.length === this.#done) this.began = performance.now();
    this.turns.push({ field, before, base: [...before].length, speaker, text: "", words: new Words(), offset_s: null });
    this.#speech.configure(cast ? { cast } : { voice });
    if (!this.player.isPlaying) this.#turnTo("connecting");
  }

  push(text) {
    this.turns.at(-1).text += text;
    this.#speech.push(text);
  }

  endTurn() {
    this.#speech.endTurn();
  }

  /** Say texts, [{field, voice or cast, speaker}], one after the other, and be done. */
  say(parts, wish, rate) {
    this.open(wish, rate);
    this.#expected = parts.length;
    this.#unsent = [...parts];
    for (const { field } of parts) {
      field.begin();
      field.isReadOnly = true;
    }
    this.#sendMore();
  }

  #sendMore() {
    while (this.#unsent.length && this.turns.length < this.#done + SENT_AHEAD) {
      const part = this.#unsent.shift();
      this.begin(part);
      this.push(part.field.value);
      this.endTurn();
    }
  }

  /** Be silent, and let the server stop. */
  stop() {
    if (!this.isActive) {
      this.#close();
      return;
    }
    const { heard } = this, played_s = Math.max(0, this.player.position - (heard?.offset_s ?? 0));
    this.#speech?.cancel(Math.max(0, this.turns.indexOf(heard)), Math.round(1000 * played_s));
    this.#speech = null;
    this.#done = this.turns.length;
    this.player.pause();
    this.player.end();
    this.#rest("stopped");
  }

  /** Play what is here from a time on. */
  play(from_s) {
    this.turns.filter(isUnchanged).forEach(({ field }) => field.begin());
    this.player.play(from_s);
  }

  pause() {
    this.player.pause();
    this.#turnTo("paused");
  }

  /** How long it is, or will be, as far as can be told. */
  get total_s() {
    if (this.player.complete) return this.player.seconds;
    const guess_s = this.turns.reduce((sum, { text }) => sum + text.length, 0) / CHARACTERS_A_SECOND;
    return Math.max(guess_s, this.player.seconds + 0.5);
  }

  #start(turn) {
    const isNext = this.turns.indexOf(turn) > 0 && !this.player.complete;
    if (isNext) this.#add(new Float32Array(Math.round(BETWEEN_TURNS_S * this.player.rate)));
    turn.offset_s = this.player.seconds;
    this.player.complete = false;
    if (!this.player.isPlaying && this.state !== "paused") this.player.play(turn.offset_s);
  }

  #take(samples) {
    const now = performance.now();
    this.first_audio_ms ??= now - this.began;
    this.#add(samples);
    const since = this.began + this.first_audio_ms;
    if (this.compute_s === 0 && this.player.seconds > 1) this.rtf = (now - since) / 1000 / this.player.seconds; // till told
  }

  #add(samples) {
    this.wave.push(samples, this.player.rate);
    this.player.push(samples);
  }

  #turnDone({ rtf, audio_ms }) {
    this.#done += 1;
    this.compute_s += ((rtf ?? 0) * audio_ms) / 1000;
    this.rtf = this.compute_s / this.player.seconds;
    this.#sendMore();
    if (this.#done === this.turns.length) this.player.end();
    if (this.#done === this.#expected) this.#close();
    this.#follow();
  }

  #close() {
    this.#speech?.close();
    this.#speech = null;
  }

  #fail(problem) {
    this.#speech = null;
    this.#done = this.turns.length;
    this.player.end();
    if (!this.player.isPlaying) this.#rest("idle");
    this.dispatchEvent(new CustomEvent("problem", { detail: problem }));
  }

  /** The player goes on, or waits. */
  #follow() {
    if (this.player.isPlaying && this.player.stretches.length) this.#turnTo(this.player.isWaiting ? "stalled" : "speaking");
    cancelAnimationFrame(this.#frame);
    this.#show();
  }

  #show() {
    const { player, heard } = this;
    if (this.isActive && heard) showHeard(this.turns, heard, player.position);
    if (heard !== this.#shown && this.state === "speaking") this.#turnTo("speaking");
    this.#shown = heard;
    this.dispatchEvent(new Event("progress"));
    if (this.isActive) this.#frame = requestAnimationFrame(() => this.#show());
  }

  #rest(state) {
    for (const { field } of [...this.turns, ...this.#unsent]) {
      field.rest();
      field.isReadOnly = false;
    }
    this.#unsent = [];
    this.#turnTo(state);
    this.#show();
  }

  #turnTo(state, position = 0) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: position }));
  }
}
