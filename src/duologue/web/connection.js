// The way to the server, whichever road it takes: WebRTC first, the WebSocket where that is refused or blocked; a new try
// with growing pauses when it is lost, asking for the same session again. Knows of messages only that `ready` opens a session.

import { RtcRoad } from "./rtc.js";
import { SocketRoad } from "./socket.js";

const TAKEN_OVER = "taken_over"; // another page has this session now; taking it back would go on for ever
const PAUSES_S = [0.5, 1, 2, 4, 8]; // between tries; the last one is repeated

export class Connection {
  // `wanted()` → {road: "auto", "rtc" or "socket"; key}; `query(road)` → what to ask of its address; `track()` → the user's sound
  // `on`: message(object, pcm) · lost(seconds until the next try) · track(stream) · fallback(code) · takenOver()
  constructor(wanted, query, track, on) {
    Object.assign(this, { wanted, query, track, on });
    this.failures = 0;
    this.attempts = 0;
    this.why = ""; // code of the reason for the WebSocket, where WebRTC was wanted
  }

  async open() {
    clearTimeout(this.timer);
    this.timer = 0; // none is waited for
    const attempt = ++this.attempts;
    this.resting = false;
    this.road?.close();
    this.road = null;
    const road = await this.build(attempt);
    if (attempt === this.attempts && !this.resting) this.road = road;
    else road.close();
  }

  async build(attempt) {
    const { road = "auto", key = "" } = this.wanted();
    if (road !== "socket" && !this.why) {
      try {
        return await RtcRoad.open(this.address("rtc"), key, this.track(), this.ears(attempt));
      } catch (error) {
        if (!["unreachable", "cross_origin"].includes(error.code)) this.why = error.code;
        if (attempt === this.attempts) this.on.fallback(error.code);
      }
    }
    return new SocketRoad(this.address("ws", "ws"), key, this.ears(attempt));
  }

  // What an attempt that was given up still says is not listened to.
  ears(attempt) {
    const mine = (deed) => (...told) => attempt === this.attempts && deed(...told);
    return {
      message: mine((message, pcm) => this.receive(message, pcm)),
      closed: mine((reason) => this.lose(reason)),
      track: mine((stream) => this.on.track(stream)),
    };
  }

  address(path, scheme = "http") {
    return new URL(`${path}?${new URLSearchParams(this.query(path))}`, document.baseURI.replace(/^http/, scheme));
  }

  get up() {
    return Boolean(this.road?.up);
  }

  get name() {
    return this.road?.name ?? "";
  }

  receive(message, pcm) {
    if (message.type === "ready") this.failures = 0;
    this.on.message(message, pcm);
  }

  lose(reason) {
    this.road = null;
    if (reason === TAKEN_OVER) {
      this.rest();
      this.on.takenOver();
    }
    if (this.resting) return;
    const pause = PAUSES_S[Math.min(this.failures++, PAUSES_S.length - 1)];
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), pause * 1000);
    this.on.lost(pause);
  }

  // Another road is wanted, or the network is there again.
  again() {
    this.why = "";
    this.failures = 0;
    return this.open();
  }

  // Somebody looks at the page: the next try need not wait.
  hurry() {
    if (this.timer) this.open();
  }

  // The server has ended the session on purpose: no new one until somebody asks for it by `open`.
  rest() {
    this.resting = true;
  }

  send(message) {
    return this.road?.send(message) ?? false;
  }

  sendSound(pcm) {
    return this.road?.sendSound(pcm) ?? false;
  }

  statistics() {
    return this.road?.statistics() ?? Promise.resolve({});
  }
}
