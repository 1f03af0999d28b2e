// A resampler for one stream: what is pushed piece by piece comes out as the whole would.
// Runs in worklets and in the page; knows no audio graph. Rates are whole Hz, samples floats.

const CROSSINGS = 24; // of the sinc, on each side: the length that makes the slope below
const BETA = 8; // Kaiser window: what is folded back lies 80 dB under the sound
const CUTOFF = 0.93; // of the lower Nyquist frequency; the filter's slope ends a little above it
const SPARE = 4096; // samples taken at once; longer blocks are taken in parts

export class Resampler {
  constructor(source, target) {
    const shared = divisor(source, target);
    this.up = target / shared;
    this.down = source / shared;
    const half = Math.ceil((CROSSINGS * Math.max(1, this.down / this.up)) / CUTOFF);
    this.taps = this.up === this.down ? 1 : 2 * half;
    this.bank = bank(this.up, this.down, half);
    this.input = new Float32Array(this.taps + SPARE);
    this.filled = this.taps >> 1 && half - 1; // silence before the first sample: the output starts with the input
    this.at = 0; // in `input`, where the filter of the next output begins
    this.phase = 0; // of the next output, in 1/up of an input sample
    this.taken = this.given = 0; // samples
  }

  // Calls emit(sample) for each that is ready.
  push(samples, emit) {
    for (let from = 0; from < samples.length; from += SPARE) this.take(samples.subarray(from, from + SPARE), emit);
  }

  // The rest of the stream, up to the end of its last sample. Nothing may be pushed afterwards.
  flush(emit) {
    const total = Math.ceil((this.taken * this.up) / this.down);
    this.push(new Float32Array(this.taps), (sample) => this.given <= total && emit(sample));
  }

  take(samples, emit) {
    this.input.set(samples, this.filled);
    this.filled += samples.length;
    this.taken += samples.length;
    while (this.at + this.taps <= this.filled) {
      this.given += 1;
      emit(this.sample());
      this.phase += this.down;
      this.at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    const done = Math.min(this.at, this.filled);
    this.input.copyWithin(0, done, this.filled);
    this.filled -= done;
    this.at -= done;
  }

  sample() {
    if (this.taps === 1) return this.input[this.at];
    let sum = 0;
    for (let tap = 0, row = this.phase * this.taps; tap < this.taps; tap++) {
      sum += this.bank[row + tap] * this.input[this.at + tap];
    }
    return sum;
  }
}

// One row of taps for each phase, each with a sum of 1: a steady level stays exactly that level.
function bank(up, down, half) {
  if (up === down) return new Float32Array(1);
  const rows = new Float32Array(up * 2 * half);
  const cutoff = CUTOFF * Math.min(1, up / down);
  for (let phase = 0; phase < up; phase++) {
    const row = rows.subarray(phase * 2 * half, (phase + 1) * 2 * half);
    for (let tap = 0; tap < row.length; tap++) row[tap] = weight(tap - half + 1 - phase / up, half, cutoff);
    const sum = row.reduce((total, tap) => total + tap, 0);
    row.forEach((tap, i) => (row[i] = tap / sum));
  }
  return rows;
}

function weight(distance, half, cutoff) {
  const x = Math.PI * cutoff * distance;
  const edge = 1 - (distance / half) ** 2;
  return edge <= 0 ? 0 : (x ? Math.sin(x) / x : 1) * bessel(BETA * Math.sqrt(edge));
}

function bessel(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-9 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}
