/* Which word is heard, shown in the fields of a take's turns; see stage.js for what a turn is. */

/** Show how far `heard`, one of the turns, has been heard when so many seconds of the take were. */
export function showHeard(turns, heard, position_s) {
  const reached = turns.indexOf(heard), { base, field, words, offset_s } = heard;
  turns.forEach((turn, i) => {
    if (turn.field === field) return;
    if (i < reached) turn.field.done();
    else turn.field.mark(null);
  });
  const word = words.at(1000 * (position_s - (offset_s ?? Infinity)));
  if (!isUnchanged(heard)) field.rest();
  else if (word) field.mark({ start: base + word.start, end: base + word.end });
  else field.mark({ start: base, end: base });
}

/** Whether a turn's text still stands where it was said from. */
export function isUnchanged({ field, before, text }) {
  return field.value.startsWith(before + text);
}

/** Turns of a dialogue, [{field, number}], as one text that a model reads in one pass: a script with a line for each.

It can be shown as a field can: words of the script are words of the turns' fields. */
export class Script {
  constructor(turns) {
    this.turns = turns;
  }

  get value() {
    return this.turns.map((turn) => tag(turn) + turn.field.value.replaceAll("\n", " ")).join("\n");
  }

  set isReadOnly(value) {
    for (const { field } of this.turns) field.isReadOnly = value;
  }

  begin() {
    for (const { field } of this.turns) field.begin();
  }

  mark(word) {
    let start = 0;
    for (const turn of this.turns) {
      start += tag(turn).length;
      const end = start + [...turn.field.value].length;
      if (word === null || word.end <= start) turn.field.mark(null);
      else if (word.start >= end) turn.field.done();
      else turn.field.mark({ start: word.start - start, end: word.end - start });
      start = end + 1;
    }
  }

  done() {
    for (const { field } of this.turns) field.done();
  }

  rest() {
    for (const { field } of this.turns) field.rest();
  }
}

function tag({ number }) {
  return `Speaker ${number}: `;
}
