// Calls by WebRTC without a browser: a microphone and a loudspeaker, and when what is heard of a reply begins and ends.
import wrtc from "@roamhq/wrtc";
import { RATE, note } from "./flow.mjs";

Object.assign(globalThis, {
  RTCPeerConnection: wrtc.RTCPeerConnection,
  RTCSessionDescription: wrtc.RTCSessionDescription,
  MediaStream: wrtc.MediaStream,
});

// What is on its way or in the jitter buffer when the server falls silent.
const SETTLE_MS = 1_000;

// RMS of an Int16: -50 dB of full scale.
const AUDIBLE = 100;

// 20 ms blocks in, a track out that speaks them.
export class Microphone {
  #source = new wrtc.nonstandard.RTCAudioSource();
  track = this.#source.createTrack();

  send(block) {
    const size = RATE / 100;
    for (let at = 0; at < block.length; at += size) {
      const samples = block.slice(at, at + size);
      this.#source.onData({ samples, sampleRate: RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: size });
    }
  }
}

// Tells the ear the sound of replies, and their ends: a reply is over when it has been heard.
export class Loudspeaker {
  #ear;
  #playing = false;
  #silentSince = Infinity;
  #done = null;

  constructor(ear) {
    this.#ear = ear;
  }

  listen(track) {
    new wrtc.nonstandard.RTCAudioSink(track).ondata = (frame) => this.#hear(frame);
  }

  // What sounds while the user speaks is left of the reply that was cut.
  #hear({ samples, sampleRate, channelCount }) {
    const mono = samples.filter((_, index) => index % channelCount === 0);
    if (this.#playing) this.#ear.takeSound(mono, sampleRate);
    else if (performance.now() - this.#silentSince > SETTLE_MS && rms(mono) > AUDIBLE)
      this.#ear.interruption.late_s += mono.length / sampleRate;
  }

  take(event) {
    if (event.type === "output_audio_buffer.started") {
      this.#playing = true;
    } else if (event.type === "input_audio_buffer.speech_stopped") {
      this.#silentSince = Infinity; // the next reply's sound may overtake what is said of it
    } else if (["output_audio_buffer.stopped", "output_audio_buffer.cleared"].includes(event.type)) {
      this.#playing = false;
      if (event.type === "output_audio_buffer.cleared") this.#silentSince = performance.now();
      this.#end();
    }
  }

  // The server's last word on a response, whose sound may still be playing.
  ended(response) {
    this.#done = response;
    const speaks = response.output.some((item) => item.type === "message");
    if (!this.#playing && !(speaks && response.status === "completed")) this.#end();
  }

  #end() {
    const response = this.#done;
    this.#done = null;
    if (response) this.#ear.takeEnd(response.status, response.id);
    else note("sound over before its response");
  }
}

function rms(samples) {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}
