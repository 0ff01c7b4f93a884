/* Plays samples as they arrive, without gaps, and knows which of them is heard now.

Chunks become buffers that start at whole samples of one AudioContext, which runs at the speech's own rate: nothing is
resampled, and the seams cannot be heard. The clock of that context, less the delay of the output, is the only clock.
When samples come later than they are needed the player waits, for twice as long each time, and goes on. */

const LEAD_S = 0.2; // held before the first sound: frames come a little unevenly
const MOST_LEAD_S = 4;
const SOON_S = 0.02; // from now to the first sample
const AHEAD_S = 4; // scheduled at once: timers of a hidden page fire once a second
const TICK_MS = 100;

export class Player extends EventTarget {
  context = null;
  #sources = new Set();
  #ticker = 0;

  constructor() {
    super();
    this.clear();
  }

  /** Forget all samples. */
  clear() {
    this.#halt();
    this.chunks = []; // Float32Array each
    this.samples = 0;
    this.complete = false;
    this.isPlaying = false;
    this.stalls = 0;
    this.#rewind(0);
  }

  /** Let sound out: browsers want this to happen in a click or a key press. */
  wake(rate) {
    this.context ??= new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
    this.context.resume();
  }

  get rate() {
    return this.context?.sampleRate ?? 24000;
  }

  /** Seconds of samples that are here. */
  get seconds() {
    return this.samples / this.rate;
  }

  push(samples) {
    this.chunks.push(samples);
    this.samples += samples.length;
    this.#fill();
  }

  /** No more samples will come. */
  end() {
    this.complete = true;
    this.#fill();
  }

  /** Play from a time on, of samples that are here or will come. */
  play(from_s = 0) {
    this.#halt();
    this.#rewind(Math.min(this.samples, Math.max(0, Math.round(from_s * this.rate))));
    this.isPlaying = true;
    this.context.resume();
    this.#ticker = setInterval(() => this.#fill(), TICK_MS);
    this.#fill();
    this.#tell("change");
  }

  /** Be silent at once; `position` stays. */
  pause() {
    const heard_s = this.position;
    this.#halt();
    this.#rewind(Math.round(heard_s * this.rate));
    this.isPlaying = false;
    this.#tell("change");
  }

  /** Seconds into the samples of what is heard now. */
  get position() {
    const heard_at = (this.context?.currentTime ?? 0) - this.#latency;
    const stretch = this.stretches.findLast((each) => each.at <= heard_at) ?? this.stretches[0];
    if (!stretch) return this.start / this.rate;
    const until = this.stretches[this.stretches.indexOf(stretch) + 1]?.from ?? this.cursor / this.rate;
    return Math.max(stretch.from, Math.min(until, stretch.from + heard_at - stretch.at));
  }

  get #latency() {
    return this.context?.outputLatency || this.context?.baseLatency || 0;
  }

  #rewind(sample) {
    this.start = this.cursor = sample; // the next sample to schedule
    this.stretches = []; // {at: seconds of the context, from: seconds of the samples}, one after each wait
    this.free = 0; // sample of the context's clock after all that is scheduled
    this.lead_s = LEAD_S;
  }

  #halt() {
    clearInterval(this.#ticker);
    for (const source of this.#sources) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.#sources.clear();
  }

  #fill() {
    if (!this.isPlaying) return;
    const now_s = this.context.currentTime;
    if (this.free / this.rate <= now_s && !this.#begin(now_s)) return;
    for (let first = 0, at = 0; at < this.chunks.length && this.free / this.rate < now_s + AHEAD_S; at++) {
      const chunk = this.chunks[at];
      first += chunk.length;
      if (first > this.cursor) this.#schedule(chunk.subarray(chunk.length - (first - this.cursor)));
    }
  }

  /** Start a stretch of sound, if enough is here for it. */
  #begin(now_s) {
    const ready_s = (this.samples - this.cursor) / this.rate;
    if (this.complete && !ready_s) {
      if (now_s - this.#latency >= this.free / this.rate) this.#finish();
      return false;
    }
    if (!this.complete && ready_s < this.lead_s) {
      if (this.stretches.length && !this.isWaiting) {
        this.isWaiting = true;
        this.stalls += 1;
        this.lead_s = Math.min(MOST_LEAD_S, 2 * this.lead_s);
        this.#tell("change");
      }
      return false;
    }
    this.free = Math.ceil((now_s + SOON_S) * this.rate);
    this.stretches.push({ at: this.free / this.rate, from: this.cursor / this.rate });
    this.isWaiting = false;
    this.#tell("change");
    return true;
  }

  #schedule(samples) {
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.context.destination);
    source.onended = () => this.#sources.delete(source);
    source.start(this.free / this.rate);
    this.#sources.add(source);
    this.free += samples.length;
    this.cursor += samples.length;
  }

  #finish() {
    this.#halt();
    this.isPlaying = false;
    this.#tell("change");
    this.#tell("finish");
  }

  #tell(what) {
    this.dispatchEvent(new Event(what));
  }
}
