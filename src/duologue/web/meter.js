// The recent loudness of one speaker as a strip of bars, the newest beside the talk button.

const BAR = 3; // px
const GAP = 2; // px
const STEP_MS = 33; // about one bar for each block of sound
const FALL = 0.6; // a bar without a new level: blocks of sound and bars do not keep step
const FLOOR_DB = -55; // quieter than a quiet room
const RANGE_DB = 45;

export class Meter {
  // `outward`: -1 where the strip runs to the left of the button, 1 where it runs to the right. `colour`: a CSS variable.
  constructor(canvas, colour, outward) {
    Object.assign(this, { canvas, colour, outward });
    this.history = new Array(Math.floor(canvas.width / (BAR + GAP))).fill(0);
    this.peak = 0; // since the last bar
    this.scale(window.devicePixelRatio || 1);
  }

  scale(ratio) {
    this.width = this.canvas.width;
    this.height = this.canvas.height;
    this.canvas.width *= ratio;
    this.canvas.height *= ratio;
    this.paper = this.canvas.getContext("2d");
    this.paper.scale(ratio, ratio);
  }

  push(level) {
    this.peak = Math.max(this.peak, loudness(level));
    this.timer ??= setInterval(() => this.step(), STEP_MS);
  }

  step() {
    this.history.unshift(this.peak);
    this.history.pop();
    this.peak = this.peak > 0.05 ? this.peak * FALL : 0;
    this.draw();
    if (this.history.some((bar) => bar > 0)) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  draw() {
    this.paper.clearRect(0, 0, this.width, this.height);
    this.paper.fillStyle = getComputedStyle(this.canvas).getPropertyValue(this.colour);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (still) this.bar(0, 0.2, this.history[0] * this.width);
    else this.history.forEach((bar, i) => this.bar(i * (BAR + GAP), bar, BAR));
  }

  bar(offset, loud, width) {
    if (!loud) return;
    const height = Math.max(BAR, loud * this.height);
    const left = this.outward < 0 ? this.width - offset - width : offset;
    this.paper.globalAlpha = 1 - (offset / this.width) * 0.85;
    this.paper.beginPath();
    this.paper.roundRect(left, (this.height - height) / 2, width, height, BAR / 2);
    this.paper.fill();
  }
}

// RMS to 0..1, as loud as it sounds.
export function loudness(level) {
  const above = 20 * Math.log10(level + 1e-9) - FLOOR_DB;
  return Math.max(0, Math.min(1, above / RANGE_DB));
}
