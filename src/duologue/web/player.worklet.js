// Plays blocks of float samples at the context's rate, joined sample by sample; says what has been played.
// A fade is made only where sound is cut (hold, drop) or starts again after one.

const START_S = 0.08; // sound in hand before a reply starts: one late block on a good network
const MOST_S = 0.25; // what the start buffer grows to, at most, when sound ran dry
const FADE_S = 0.01; // long enough not to click, short enough not to be heard as a fade
const REPORT_S = 0.032;
const FULL_S = 30; // the server keeps about one second ahead; more than this is its mistake, and the newest is refused

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.generation = 0; // how often sound was dropped: a report of what was dropped since is worth nothing
    this.queue = []; // {turn, samples, final}, the next to be played first
    this.at = 0; // samples of queue[0] that are played
    this.turn = -1;
    this.played = 0; // samples of `turn`
    this.playing = false;
    this.dry = false; // played all that it had
    this.waited = 0; // samples, since there was something to play
    this.held = false;
    this.start = START_S;
    this.underruns = 0;
    this.gain = 1;
    this.last = 0; // last sample given out: where sound runs dry it decays from here instead of clicking
    this.cut = []; // the faded rest of what was dropped
    this.quanta = 0;
    this.energy = 0;
    this.port.onmessage = ({ data }) => this[data.do](data);
  }

  push({ turn, samples, final }) {
    if (this.buffered() > FULL_S * sampleRate) return this.port.postMessage({ full: true });
    if (this.dry && turn === this.turn && samples.length) this.countUnderrun();
    this.queue.push({ turn, samples, final });
  }

  // Running out of sound is only a fault if there was more to come.
  countUnderrun() {
    this.dry = false;
    this.underruns += 1;
    this.start = Math.min(MOST_S, this.start * 1.5);
    this.gain = 0; // what comes late fades in
  }

  hold() {
    this.held = true;
  }

  resume() {
    this.held = false;
  }

  drop({ generation }) {
    this.cut = this.playing ? this.fadedRest() : [];
    this.queue = [];
    this.at = 0;
    this.gain = 1;
    this.held = this.playing = this.dry = false;
    this.waited = 0;
    this.generation = generation;
    this.turn = -1;
  }

  fadedRest() {
    const rest = new Float32Array(Math.round(FADE_S * sampleRate));
    this.take(rest);
    return rest.map((sample, i) => sample * this.gain * (1 - i / rest.length));
  }

  buffered() {
    return this.queue.reduce((sum, block) => sum + block.samples.length, -this.at);
  }

  process(_inputs, [[out]]) {
    if (!this.playing) this.tryStart();
    if (this.playing && (!this.held || this.gain > 0)) this.playInto(out);
    else this.decay(out, 0);
    this.mixCut(out);
    this.measure(out);
    return true;
  }

  // Sound starts when enough is in hand, or has waited as long as that much would have taken to come.
  tryStart() {
    const next = this.queue[0];
    if (!next || this.held) return;
    this.waited += 128;
    const whole = this.queue.some((block) => block.final);
    if (!whole && Math.max(this.buffered(), this.waited) < this.start * sampleRate) return;
    if (next.turn !== this.turn) Object.assign(this, { turn: next.turn, played: 0 });
    this.playing = true;
    this.dry = false;
  }

  playInto(out) {
    const filled = this.take(out);
    this.ramp(out, filled);
    if (filled) this.last = out[filled - 1];
    if (filled === out.length) return;
    this.stop();
    this.decay(out, filled);
  }

  // Moves samples of the present reply to `out`, never past its final block. Returns how many there were.
  take(out) {
    let filled = 0;
    while (this.queue[0]?.turn === this.turn && filled < out.length) {
      const { samples, final } = this.queue[0];
      const part = samples.subarray(this.at, this.at + out.length - filled);
      out.set(part, filled);
      filled += part.length;
      this.at += part.length;
      if (this.at < samples.length) break;
      this.queue.shift();
      this.at = 0;
      if (final) break;
    }
    this.played += filled;
    return filled;
  }

  ramp(out, filled) {
    const target = this.held ? 0 : 1;
    const step = 1 / (FADE_S * sampleRate);
    if (this.gain === 1 && target === 1) return;
    for (let i = 0; i < filled; i++) {
      this.gain = target ? Math.min(1, this.gain + step) : Math.max(0, this.gain - step);
      out[i] *= this.gain;
    }
  }

  stop() {
    this.playing = false;
    this.dry = true;
    this.waited = 0;
    this.report();
  }

  decay(out, from) {
    for (let i = from; i < out.length; i++) out[i] = this.last = Math.abs(this.last) < 1e-5 ? 0 : this.last * 0.98;
  }

  mixCut(out) {
    if (!this.cut.length) return;
    for (let i = 0; i < out.length && i < this.cut.length; i++) out[i] += this.cut[i];
    this.cut = this.cut.slice(out.length);
  }

  measure(out) {
    for (const sample of out) this.energy += sample * sample;
    if (++this.quanta * 128 < REPORT_S * sampleRate) return;
    if (this.playing || this.energy) this.report();
    this.quanta = this.energy = 0;
  }

  report() {
    const level = Math.sqrt(this.energy / (this.quanta * 128 || 1));
    const { generation, turn, played, playing, underruns } = this;
    this.port.postMessage({ generation, turn, played, playing, level, underruns });
  }
}

registerProcessor("player", Player);
