// One road to the server: a WebSocket. JSON both ways, PCM16 as binary messages.
// Knows no message but `audio_chunk`, whose sound follows in the next binary message, and the sign of life that it asks for.

const MOST_WAITING = 160_000; // bytes; 5 s of sound at 16 kHz. A network slower than speech loses sound rather than falling behind
const COMING_BACK = 4000; // a close code of our own: 1000 would end the session
const UNFIT = /[^\w!$%&'*+.^`|~-]/g; // for a subprotocol's name: no server's key has such a sign, and a browser throws at one
const CONNECT_MS = 8000; // an address that swallows packets says nothing by itself
const BEAT_MS = 1000;
const QUIET_MS = 5000; // of the server; then it is asked for a sign of life
const LOST_MS = 15_000; // without one, until the connection counts as lost: longer than the sound that may wait before the question

export class SocketRoad {
  name = "socket";

  // `key`: the server's, "" if none. `on`: message(object, pcm) · closed(reason)
  constructor(url, key, on) {
    this.on = on;
    this.header = null; // the audio_chunk whose sound has not come yet
    this.socket = new WebSocket(url, key ? ["duologue", `duologue-key.${key.replace(UNFIT, "_")}`] : []);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this.receive(data);
    this.socket.onclose = ({ reason }) => this.end(reason);
    this.timer = setTimeout(() => this.up || this.end(""), CONNECT_MS);
    this.heardAt = performance.now();
    this.askedAt = 0; // 0: the server owes no answer
    this.roundTripMs = NaN;
    this.heart = setInterval(() => this.beat(), BEAT_MS);
  }

  get up() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  // A network that swallows everything closes nothing, and nobody would know.
  beat() {
    const now = performance.now();
    if (this.askedAt && now - this.askedAt > LOST_MS) this.end("");
    else if (!this.askedAt && now - this.heardAt > QUIET_MS && this.send({ type: "ping" })) this.askedAt = now;
  }

  receive(data) {
    const askedAt = this.askedAt;
    this.heardAt = performance.now();
    this.askedAt = 0;
    if (typeof data !== "string") {
      this.on.message(this.header, data);
      this.header = null;
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "pong") this.roundTripMs = askedAt ? this.heardAt - askedAt : this.roundTripMs;
    else if (message.bytes) this.header = message;
    else this.on.message(message, new ArrayBuffer(0));
  }

  end(reason) {
    if (!this.socket.onclose) return;
    this.close();
    this.on.closed(reason);
  }

  close() {
    clearTimeout(this.timer);
    clearInterval(this.heart);
    this.socket.onclose = this.socket.onmessage = null;
    this.socket.close(COMING_BACK);
  }

  send(message) {
    if (this.up) this.socket.send(JSON.stringify(message));
    return this.up;
  }

  // False: it was left out.
  sendSound(pcm) {
    if (!this.up || this.socket.bufferedAmount > MOST_WAITING) return false;
    this.socket.send(pcm);
    return true;
  }

  // {round_trip_ms}: NaN until the server was quiet for once
  async statistics() {
    return { round_trip_ms: this.roundTripMs };
  }
}
