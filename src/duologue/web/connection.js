// The WebSocket at ws: JSON both ways, PCM16 as binary messages, a new try with growing pauses when it is lost.
// Knows no message but `audio_chunk`, whose sound follows in the next binary message.

const MOST_WAITING = 500_000; // bytes; about 5 s of sound. A network slower than speech loses sound rather than falling behind
const PAUSES_S = [0.5, 1, 2, 4, 8]; // between tries; the last one is repeated

export class Connection {
  // `on`: message(object, pcm) · lost(seconds until the next try)
  constructor(query, on) {
    this.url = new URL(`ws?${new URLSearchParams(query)}`, document.baseURI.replace(/^http/, "ws"));
    this.on = on;
    this.failures = 0;
    this.header = null; // the audio_chunk whose sound has not come yet
    this.open();
  }

  open() {
    clearTimeout(this.timer);
    this.resting = false;
    this.socket = new WebSocket(this.url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this.receive(data);
    this.socket.onclose = () => this.lose();
  }

  get up() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  receive(data) {
    if (typeof data !== "string") {
      this.on.message(this.header, data);
      this.header = null;
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "ready") this.failures = 0;
    if (message.bytes) this.header = message;
    else this.on.message(message, new ArrayBuffer(0));
  }

  lose() {
    this.header = null;
    if (this.resting) return;
    const pause = PAUSES_S[Math.min(this.failures++, PAUSES_S.length - 1)];
    this.timer = setTimeout(() => this.open(), pause * 1000);
    this.on.lost(pause);
  }

  // The server has ended the session on purpose: no new one until somebody asks for it by `open`.
  rest() {
    this.resting = true;
  }

  send(message) {
    if (this.up) this.socket.send(JSON.stringify(message));
    return this.up;
  }

  sendSound(pcm) {
    if (this.up && this.socket.bufferedAmount < MOST_WAITING) this.socket.send(pcm);
  }
}
