/* Speech that follows the keyboard: every finished word is sent at once, and a pause ends the turn.

What was sent cannot be taken back; if it is changed, speech stops and goes on with what is typed from then on. */

const PAUSE_MS = 1200;

export class Typing {
  #sent = ""; // of the field's text: it was said, or is not to be
  #isOpen = false; // a turn is
  #timer = 0;

  /** `open()` begins a take if there is none, and gives the voice, or null; `isOn()` is whether to follow. */
  constructor(field, stage, { isOn, open }) {
    Object.assign(this, { field, stage, open, isOn });
    field.area.addEventListener("input", () => isOn() && this.#follow());
    stage.addEventListener("state", () => (stage.state === "stopped" || stage.state === "idle") && this.reset());
  }

  /** What stands there now is not to be said. */
  reset() {
    clearTimeout(this.#timer);
    this.#isOpen = false;
    this.#sent = this.field.value;
  }

  #follow() {
    const text = this.field.value;
    if (!text.startsWith(this.#sent)) {
      this.stage.stop();
      this.reset();
      return;
    }
    const unsent = text.slice(this.#sent.length);
    const whole = unsent.match(/^[^]*\s/)?.[0] ?? "";
    if (whole.trim()) this.#push(whole);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#end(), PAUSE_MS);
  }

  #push(text) {
    if (!this.#isOpen) {
      const voice = this.open();
      if (voice === null) {
        this.reset();
        return;
      }
      this.stage.begin({ field: this.field, before: this.#sent, voice });
      this.#isOpen = true;
    }
    this.field.begin();
    this.#sent += text;
    this.stage.push(text);
  }

  #end() {
    const rest = this.field.value.slice(this.#sent.length);
    if (rest.trim()) this.#push(rest);
    if (this.#isOpen) this.stage.endTurn();
    this.#isOpen = false;
  }
}
