/* The microphone: what it hears, how loud, for how long. */

const LONGEST_S = 60;

/** A recording being made. Throws what `getUserMedia` throws. */
export class Recording {
  /** `tell(seconds, level)` hears of it as it goes on, level from 0 to 1. */
  static async begin(tell) {
    const sound = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: sound });
    return new Recording(stream, tell);
  }

  constructor(stream, tell) {
    this.stream = stream;
    this.parts = [];
    this.context = new AudioContext();
    this.meter = this.context.createAnalyser();
    this.context.createMediaStreamSource(stream).connect(this.meter);
    this.recorder = new MediaRecorder(stream);
    this.recorder.ondataavailable = ({ data }) => this.parts.push(data);
    this.over = new Promise((resolve) => (this.recorder.onstop = resolve)).then(() => this.#file()); // Blob
    this.recorder.start();
    this.began = performance.now();
    this.ticker = setInterval(() => this.#tick(tell), 100);
  }

  stop() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
  }

  /** What was heard, as a file of whatever kind this browser makes; the microphone is let go. */
  async #file() {
    clearInterval(this.ticker);
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
    return new Blob(this.parts, { type: this.recorder.mimeType });
  }

  #tick(tell) {
    const seconds = (performance.now() - this.began) / 1000;
    const samples = new Float32Array(this.meter.fftSize);
    this.meter.getFloatTimeDomainData(samples);
    tell(seconds, Math.min(1, 2 * Math.max(...samples.map(Math.abs))));
    if (seconds >= LONGEST_S) this.stop();
  }
}
