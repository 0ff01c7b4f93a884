/* Our side of the WebSocket /v1/audio/speech/stream: turns of text go out, audio and words with their times come in. */

const PATH = "v1/audio/speech/stream";

/** A conversation with the server, which says what it is given turn by turn.

`on` has a function for each of: audio(turn, samples), words(turn, words), start(turn, message), done(turn, message),
queue(position), problem({status, message, retry_after_s}). Turns are numbered from 0. */
export class Speech {
  #socket;
  #unsent = [];
  #speaking = 0; // the turn whose audio comes
  #isOver = false;

  constructor(wish, on) {
    this.on = on;
    const address = new URL(PATH, document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    this.#socket = new WebSocket(address);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => this.#unsent.splice(0).forEach((message) => this.#socket.send(message));
    this.#socket.onmessage = ({ data }) => this.#hear(data);
    this.#socket.onclose = () => this.#fail({ status: 0 });
    this.#send("session.config", { format: "pcm", ...wish });
  }

  /** What later turns are to sound like. */
  configure(wish) {
    this.#send("session.config", wish);
  }

  push(text) {
    this.#send("input.text", { text });
  }

  /** What was pushed is a whole sentence. */
  flush() {
    this.#send("input.flush");
  }

  endTurn() {
    this.#send("input.done");
  }

  /** Stop a turn, of which so much was heard, and all that was to follow. */
  cancel(turn, played_ms) {
    if (this.#isOver) return;
    this.#send("audio.cancel", { turn, played_ms });
    this.#send("session.close");
    this.#isOver = true;
  }

  /** Nothing more is wanted. */
  close() {
    this.#isOver = true;
    this.#socket.close();
  }

  #send(type, fields = {}) {
    const message = JSON.stringify({ type, ...fields });
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(message);
    else this.#unsent.push(message);
  }

  #hear(data) {
    if (this.#isOver) return;
    if (data instanceof ArrayBuffer) {
      this.on.audio(this.#speaking, fromPcm16(data));
      return;
    }
    const message = JSON.parse(data);
    const answers = {
      "audio.start": () => this.on.start((this.#speaking = message.turn), message),
      "audio.words": () => this.on.words(message.turn, message.words),
      "audio.done": () => this.on.done(message.turn, message),
      "queue.position": () => this.on.queue(message.position),
      error: () => this.#fail({ ...message.error, status: message.status, retry_after_s: message.retry_after_s }),
    };
    answers[message.type]?.();
  }

  #fail(problem) {
    if (this.#isOver) return;
    this.close();
    this.on.problem(problem);
  }
}

function fromPcm16(bytes) {
  const view = new DataView(bytes);
  return Float32Array.from({ length: bytes.byteLength / 2 }, (_, i) => view.getInt16(2 * i, true) / 32768);
}
