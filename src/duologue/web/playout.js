// The reply as it is being heard: keeps the loudspeaker, the words on the screen and the server's idea of where the listener
// is in step, over either road; and measures how long the answer took to the ear.
// Knows no screen and no devices.

import { RemoteClock } from "./remote-clock.js";
import { WIRE_RATE } from "./sound.js";

const CURSOR_MS = 100; // between two cursors: what the protocol asks for
const MOST_WAY_MS = 2000; // a longer way to the ear is a mistake in reckoning, after a session was taken up again

export class Playout {
  constructor(sound, conversation, connection) {
    Object.assign(this, { sound, conversation, connection });
    this.clock = new RemoteClock();
    this.begin(-1, 0);
    this.startSession();
    setInterval(() => this.tick(), CURSOR_MS);
  }

  // The server tells the time of the user's sound by counting what was sent.
  startSession() {
    this.sent = 0; // samples
    this.voiceEnded = NaN; // ms of the user's sound
    this.alive = false;
  }

  // `turn` is the reply whose sound came last; `heard`, in ms, how much of it was; `alive`: it may still be played.
  begin(turn, at_ms) {
    Object.assign(this, { turn, heard: at_ms, alive: turn >= 0, way: null });
    if (this.alive) this.sound.letThrough(true);
  }

  get remote() {
    return this.connection.name === "rtc";
  }

  // ── What the server says ──

  // `message` is an audio_chunk.
  take(message, pcm) {
    const { turn, at_ms, is_final } = message;
    this.conversation.audioChunk(message);
    if (turn <= this.sound.silenced) return; // it was still on its way
    if (turn !== this.turn || !this.alive) this.begin(turn, at_ms);
    if (this.remote) this.clock.announced(turn, at_ms);
    else if (this.sound.able) this.sound.play(turn, pcm, at_ms, is_final);
    else this.conversation.played(turn, at_ms + 1); // there is nothing to hear, so there is all the more to read
  }

  hold() {
    this.sound.hold();
    this.clock.hold(performance.now());
  }

  resume() {
    this.sound.resume();
    this.clock.resume(performance.now());
  }

  // Over a peer connection: the server's sound begins.
  sounds(turn) {
    this.clock.begin(turn, performance.now());
  }

  done(turn) {
    if (turn === this.turn) this.alive = false;
  }

  silence(turn) {
    this.alive = false;
    this.sound.drop(turn);
    this.sound.letThrough(false);
    this.clock.drop();
  }

  // All sound so far is void, and what comes under the same number will be other sound.
  forget() {
    this.sound.forget();
    this.clock.drop();
    this.begin(-1, 0);
  }

  // ── What the reader does ──

  // The sound stops at once, without a way to the server and back.
  interrupt() {
    this.sendCursor();
    this.conversation.cut(this.turn);
    this.silence(this.turn);
  }

  // ── Where the listener is ──

  // A report of the loudspeaker.
  played({ turn, ms, playing }) {
    if (turn !== this.turn) return;
    this.heard = ms;
    this.conversation.played(turn, ms);
    if (!playing) this.sendCursor();
  }

  // Also while the browser has stopped the sound: the server then waits where the listener is.
  tick() {
    if (!this.alive) return;
    if (this.remote) this.conversation.played(this.clock.turn, this.clock.heard(performance.now()));
    else this.sendCursor();
  }

  sendCursor() {
    if (this.turn < 0 || this.remote) return;
    this.connection.send({ type: "cursor", turn: this.turn, played_ms: this.heard });
  }

  // ── How long it took ──

  // A block of the user's sound, and where in it (s; -1: nowhere) a reply became audible.
  frame(pcm, onset_s) {
    if (onset_s >= 0) this.measure(onset_s);
    if (pcm && this.connection.sendSound(pcm)) this.sent += pcm.byteLength / 2;
  }

  // From the user's last voiced sample, as the server found it in what was sent, to the reply's first audible one out of this page.
  measure(onset_s) {
    if (!this.alive || this.way) return;
    const late_s = this.sound.context.outputLatency || 0;
    const at_ms = (this.sent / WIRE_RATE + onset_s + late_s) * 1000;
    this.way = { turn: this.turn, ms: at_ms - this.voiceEnded };
    this.noteLatency();
  }

  // The server's own figure and ours may come in either order.
  noteLatency() {
    const { total } = this.conversation.find(this.turn)?.latency ?? {};
    const { turn, ms } = this.way ?? {};
    if (turn === this.turn && ms < total + MOST_WAY_MS) this.conversation.heardAfter(turn, ms);
  }
}
