// Hears both sides at once. The first input is the user, the second the reply. For every 32 ms it says how loud each was,
// where the reply became audible, and gives the user as PCM16 for the server (`pcm`; null after a while without a source);
// and, while anybody sounds, both sides as stereo PCM16 for the recording (`both`).
// Knows no devices, turns or sockets. Rates in Hz come in `processorOptions`: `wire` and `tape`.

import { Resampler } from "./resampler.js";

const BLOCK_S = 0.032; // the frame that voice activity is looked for in: a whole one never waits for its last samples
const TAIL_S = 2; // of silence sent after the source ended: longer than any pause the server waits for before it answers
const AUDIBLE = 0.01; // -40 dB of full scale: what the server's own figures count as heard

class Listener extends AudioWorkletProcessor {
  constructor({ processorOptions: { wire, tape } }) {
    super();
    this.silence = new Float32Array(128);
    this.wire = new Resampler(sampleRate, wire);
    this.pcm = new Int16Array(Math.round(BLOCK_S * wire));
    this.filled = 0;
    this.sides = [new Resampler(sampleRate, tape), new Resampler(sampleRate, tape)];
    this.left = []; // what the user's resampler gave and the reply's, in step with it, has not yet
    this.both = new Int16Array(2 * Math.round(BLOCK_S * tape));
    this.paired = 0;
    this.live = false; // a source is connected; what a worklet's inputs look like without one differs between browsers
    this.tail = 0; // samples of the context, until the silence after a source is no longer sent
    this.port.onmessage = ({ data }) => (this.live = data.live);
    this.silentS = TAIL_S;
    this.measure();
    this.toWire = (sample) => this.put(sample);
    this.toLeft = (sample) => this.left.push(sample);
    this.toPairs = (sample) => this.pair(this.left.shift(), sample);
  }

  measure() {
    this.energy = [0, 0];
    this.quanta = 0;
    this.onset = -1; // quanta from the start of the block to the reply's first audible sample
  }

  process([[mine], [theirs]]) {
    this.tail = this.live ? TAIL_S * sampleRate : Math.max(0, this.tail - 128);
    this.hear(mine ?? this.silence, 0);
    this.hear(theirs ?? this.silence, 1);
    this.quanta += 1;
    this.sides[0].push(mine ?? this.silence, this.toLeft);
    this.sides[1].push(theirs ?? this.silence, this.toPairs);
    this.wire.push(mine ?? this.silence, this.toWire);
    return true;
  }

  hear(samples, side) {
    let peak = 0;
    for (const sample of samples) {
      this.energy[side] += sample * sample;
      peak = Math.max(peak, Math.abs(sample));
    }
    if (side === 1 && this.onset < 0 && peak >= AUDIBLE) this.onset = this.quanta;
  }

  put(sample) {
    this.pcm[this.filled++] = int16(sample);
    if (this.filled < this.pcm.length) return;
    const pcm = this.tail ? this.pcm.slice().buffer : null;
    const [level, replyLevel] = this.energy.map((energy) => Math.sqrt(energy / (this.quanta * 128)));
    const onset = this.onset < 0 ? -1 : (this.onset * 128) / sampleRate;
    this.port.postMessage({ pcm, level, replyLevel, onset }, pcm ? [pcm] : []);
    this.filled = 0;
    this.measure();
  }

  pair(left, right) {
    this.both[this.paired++] = int16(left);
    this.both[this.paired++] = int16(right);
    if (this.paired < this.both.length) return;
    this.paired = 0;
    this.silentS = this.both.some(Boolean) ? 0 : this.silentS + BLOCK_S;
    if (this.silentS >= TAIL_S) return;
    const both = this.both.slice().buffer;
    this.port.postMessage({ both }, [both]);
  }
}

function int16(sample) {
  return Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
}

registerProcessor("listener", Listener);
