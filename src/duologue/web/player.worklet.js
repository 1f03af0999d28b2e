// Plays PCM16 from a ring of samples at the context's rate, joined sample by sample; says what has been played.
// A fade is made only where sound is cut (hold, drop) or starts again after one.
// Knows no words and no socket. `processorOptions.rate`: Hz of the sound that is pushed.

import { Resampler } from "./resampler.js";

const RING = 2 ** 20; // samples; 22 s at 48 kHz. The server keeps about one second ahead
const FULL = RING - 2 ** 18; // more than this waiting is the server's mistake, and the newest is refused
const START_S = 0.08; // sound in hand before a reply starts: one late block on a good network
const LEAST_S = 0.06; // what the start buffer comes down to while nothing is late
const MOST_S = 0.4; // and what it grows to, at most
const GROWTH = 1.25; // of the gap that was heard, added to the start buffer
const CALM_S = 120; // without running dry, until the start buffer is tried a little shorter
const FADE_S = 0.01; // long enough not to click, short enough not to be heard as a fade
const REPORT_S = 0.032;

class Player extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.rate = processorOptions.rate;
    this.ring = new Float32Array(RING);
    this.written = this.read = 0; // samples, since the page was opened
    this.generation = 0; // how often sound was dropped: a report of what was dropped since is worth nothing
    this.replies = []; // {turn, from, at, end, resampler}; from and end count as `written` does, `at` in the reply's samples
    this.turn = -1;
    this.played = 0; // samples of `turn`
    this.playing = this.held = false;
    this.dryAt = 0; // frame of the context at which it had played all there was; 0: it has not
    this.waited = 0; // samples, since there was something to play
    this.start = START_S;
    this.calmSince = 0; // s
    this.underruns = 0;
    this.gain = 1;
    this.last = 0; // last sample given out: where sound runs dry it decays from here instead of clicking
    this.cut = []; // the faded rest of what was dropped
    this.quanta = 0;
    this.port.onmessage = ({ data }) => this[data.do](data);
  }

  // `at_ms`: where the block begins in the reply's sound; it counts for the first block only, the others join it.
  push({ turn, pcm, at_ms, final }) {
    if (this.written - this.read > FULL) return this.port.postMessage({ full: true });
    const samples = Float32Array.from(new Int16Array(pcm), (sample) => sample / 32768);
    const reply = this.reply(turn, at_ms);
    if (this.dryAt && turn === this.turn && samples.length) this.noteUnderrun();
    const keep = (sample) => (this.ring[this.written++ & (RING - 1)] = sample);
    reply.resampler.push(samples, keep);
    if (!final) return;
    reply.resampler.flush(keep);
    reply.end = this.written;
  }

  reply(turn, ms) {
    const newest = this.replies.at(-1);
    if (newest?.turn === turn) return newest;
    if (newest) newest.end = Math.min(newest.end, this.written); // one that was broken off has no end of its own
    const at = Math.round((ms * sampleRate) / 1000);
    this.replies.push({ turn, from: this.written, at, end: Infinity, resampler: new Resampler(this.rate, sampleRate) });
    return this.replies.at(-1);
  }

  // Running out of sound is only a fault if there was more to come.
  noteUnderrun() {
    const gap = (currentFrame - this.dryAt) / sampleRate;
    this.start = Math.min(MOST_S, this.start + GROWTH * gap);
    this.underruns += 1;
    this.calmSince = currentTime;
    this.dryAt = 0;
    this.gain = 0; // what comes late fades in
  }

  hold() {
    this.held = true;
  }

  resume() {
    this.held = false;
  }

  drop({ generation }) {
    if (this.playing) Object.assign(this, { cut: this.fadedRest(), last: 0 });
    this.replies = [];
    this.read = this.written;
    this.gain = 1;
    this.held = this.playing = false;
    this.dryAt = this.waited = 0;
    this.generation = generation;
    this.turn = -1;
  }

  fadedRest() {
    const rest = new Float32Array(Math.round(FADE_S * sampleRate));
    this.take(rest);
    return rest.map((sample, i) => sample * this.gain * (1 - i / rest.length));
  }

  process(_inputs, [[out]]) {
    if (!this.playing) this.tryStart();
    if (this.playing && (!this.held || this.gain > 0)) this.playInto(out);
    else this.decay(out, 0);
    this.mixCut(out);
    if (++this.quanta * 128 >= REPORT_S * sampleRate && this.playing) this.report();
    return true;
  }

  // Sound starts when enough is in hand, or has waited as long as that much would have taken to come.
  tryStart() {
    const next = this.replies[0];
    if (!next || this.held || (next.end === Infinity && this.written === this.read)) return;
    this.waited += 128;
    const inHand = Math.max(this.written - this.read, this.waited);
    if (next.end === Infinity && inHand < this.start * sampleRate) return;
    if (next.turn !== this.turn) this.begin(next);
    this.playing = true;
    this.dryAt = 0;
  }

  begin(reply) {
    this.turn = reply.turn;
    this.played = reply.at;
    if (currentTime - this.calmSince < CALM_S) return;
    this.start = Math.max(LEAST_S, this.start * 0.9);
    this.calmSince = currentTime;
  }

  playInto(out) {
    const filled = this.take(out);
    this.ramp(out, filled);
    if (filled) this.last = out[filled - 1];
    if (filled === out.length) return;
    this.stop();
    this.decay(out, filled);
  }

  // Moves samples of the present reply to `out`, never past its end. Returns how many there were.
  take(out) {
    const filled = Math.min(out.length, Math.min(this.written, this.replies[0].end) - this.read);
    for (let i = 0; i < filled; i++) out[i] = this.ring[(this.read + i) & (RING - 1)];
    this.read += filled;
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

  // Dry, unless this was the reply's end.
  stop() {
    this.playing = false;
    this.waited = 0;
    if (this.read >= this.replies[0].end) this.replies.shift();
    else this.dryAt = currentFrame;
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

  report() {
    const { generation, turn, played, playing, underruns, start } = this;
    this.port.postMessage({ generation, turn, played, playing, underruns, start });
    this.quanta = 0;
  }
}

registerProcessor("player", Player);
