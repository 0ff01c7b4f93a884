/* Words with their times, as they come and are corrected, and the text that shows which of them is heard.

A text is a textarea with a copy of its words behind it, letter on letter: the copy gives the textarea its height, and
while the text is spoken it is what is seen. Places in the text are code points, as the server counts them. */

const TOKENS = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[^\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]+/gu;

/** The words of one text, each {start, end, start_ms, end_ms}. */
export class Words {
  #byStart = new Map();
  #ordered = [];

  add(words) {
    for (const word of words) this.#byStart.set(word.start, word);
    this.#ordered = [...this.#byStart.values()].sort((a, b) => a.start_ms - b.start_ms);
  }

  /** The last word that has begun by then; null before the first. */
  at(milliseconds) {
    return this.#ordered.findLast((word) => word.start_ms <= milliseconds) ?? null;
  }
}

/** Where each token of a text lies, in code points. */
export function tokens(text) {
  const found = [];
  let unit = 0, point = 0;
  for (const match of text.matchAll(TOKENS)) {
    point += [...text.slice(unit, match.index)].length;
    const length = [...match[0]].length;
    found.push({ text: match[0], unit: match.index, start: point, end: point + length });
    unit = match.index + match[0].length;
    point += length;
  }
  return found;
}

/** A field for a text to speak. */
export class SpokenText {
  #pieces = []; // [{start, end, element}]
  #shown = null; // what `element`s stand for
  #now = null;

  constructor({ id, label, placeholder }) {
    this.area = Object.assign(document.createElement("textarea"), { id, placeholder, rows: 1, dir: "auto" });
    this.area.setAttribute("aria-label", label);
    this.copy = Object.assign(document.createElement("div"), { className: "copy", dir: "auto" });
    this.copy.setAttribute("aria-hidden", "true");
    this.element = Object.assign(document.createElement("div"), { className: "spoken" });
    this.element.append(this.copy, this.area);
    this.area.addEventListener("input", () => this.#draw());
    this.#draw();
  }

  get value() {
    return this.area.value;
  }

  set value(text) {
    this.area.value = text;
    this.#draw();
  }

  set isReadOnly(value) {
    this.area.readOnly = value;
  }

  /** Show the words instead of the plain text, none of them heard yet. */
  begin() {
    this.element.classList.add("speaking");
    this.#draw();
  }

  /** Show `word`, of code points [start, end), as the one that is heard: those before it have been. */
  mark(word) {
    if (word?.start === this.#now?.start && word?.end === this.#now?.end) return;
    this.#now = word;
    for (const piece of this.#pieces) {
      const isNow = word !== null && piece.start < word.end && piece.end > word.start;
      piece.element.classList.toggle("now", isNow);
      piece.element.classList.toggle("said", word !== null && piece.end <= word.start);
      if (isNow) reveal(piece.element);
    }
  }

  /** All of it has been heard. */
  done() {
    this.mark({ start: Infinity, end: Infinity });
  }

  /** Back to plain text. */
  rest() {
    this.element.classList.remove("speaking");
    this.mark(null);
  }

  #draw() {
    const text = this.value;
    if (text === this.#shown) return;
    this.#shown = text;
    this.#pieces = [];
    const parts = [];
    let end = 0;
    for (const token of tokens(text)) {
      const element = Object.assign(document.createElement("span"), { textContent: token.text });
      parts.push(text.slice(end, token.unit), element);
      end = token.unit + token.text.length;
      this.#pieces.push({ start: token.start, end: token.end, element });
    }
    this.copy.replaceChildren(...parts, text.slice(end) + "\u200b"); // a last empty line has a height, too
    const now = this.#now;
    this.#now = null;
    this.mark(now);
  }
}

/** Scroll a word into the middle part of the page, if it has left it. */
function reveal(element) {
  const { top, bottom } = element.getBoundingClientRect();
  const deck = document.querySelector(".deck").getBoundingClientRect();
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (top < 0 || bottom > Math.min(deck.top, innerHeight))
    element.scrollIntoView({ block: "center", behavior: isStill ? "auto" : "smooth" });
}
