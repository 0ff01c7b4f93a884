/* The speech drawn as it arrives: a bar for each moment, those that have been heard in the accent's colour. */

const BIN_S = 0.02; // what a peak is kept for
const BAR = 3, GAP = 2; // pixels
const LOUD = 0.15; // at least this fills the height: silence is not blown up

export class Wave {
  #peaks = [];
  #rest = new Float32Array(0);
  #loudest = LOUD;
  #drawn = "";

  constructor(canvas) {
    this.canvas = canvas;
    new ResizeObserver(() => this.draw(...this.last)).observe(canvas);
    this.last = [0, 0];
  }

  clear() {
    this.#peaks = [];
    this.#rest = new Float32Array(0);
    this.#loudest = LOUD;
    this.draw(0, 0);
  }

  push(samples, rate) {
    const bin = Math.round(BIN_S * rate);
    const all = new Float32Array(this.#rest.length + samples.length);
    all.set(this.#rest);
    all.set(samples, this.#rest.length);
    let at = 0;
    for (; at + bin <= all.length; at += bin) {
      const peak = all.subarray(at, at + bin).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      this.#peaks.push(peak);
      this.#loudest = Math.max(this.#loudest, peak);
    }
    this.#rest = all.slice(at);
  }

  /** Show it with `position_s` heard, the whole width being `total_s`. */
  draw(position_s, total_s) {
    this.last = [position_s, total_s];
    const { canvas } = this, scale = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    const style = getComputedStyle(canvas);
    const bars = Math.floor(canvas.clientWidth / (BAR + GAP));
    const heard = total_s ? Math.round((position_s / total_s) * bars) : 0;
    const sight = [width, height, heard, total_s, this.#peaks.length, style.color].join();
    if (sight === this.#drawn) return;
    this.#drawn = sight;
    Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    for (let bar = 0; bar < bars; bar++) {
      const from = Math.floor(((bar / bars) * total_s) / BIN_S);
      const to = Math.max(from + 1, Math.floor((((bar + 1) / bars) * total_s) / BIN_S));
      const peak = total_s ? Math.max(0, ...this.#peaks.slice(from, to)) : 0;
      const isHere = total_s && from < this.#peaks.length;
      const tall = Math.max(isHere ? 3 : 1.5, (peak / this.#loudest) ** 0.8 * (canvas.clientHeight - 8)) * scale;
      pen.fillStyle = isHere && bar < heard ? style.accentColor : style.color;
      pen.globalAlpha = isHere ? 1 : 0.45;
      pen.beginPath();
      pen.roundRect(bar * (BAR + GAP) * scale, (height - tall) / 2, BAR * scale, tall, (BAR * scale) / 2);
      pen.fill();
    }
  }
}
