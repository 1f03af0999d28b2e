// The other road: a peer connection. Sound goes both ways as tracks, JSON messages over one data channel.
// The server paces the sound, conceals losses and keeps the play cursor. Knows no message.

import { PageError } from "./errors.js";

const CONNECT_MS = 3000; // on a network that lets UDP through, connecting takes a tenth of this
const GATHER_MS = 500; // the addresses of this machine; a slow interface is not waited for
const LOST_MS = 4000; // without a sign of life, until the connection counts as lost

export class RtcRoad {
  name = "rtc";

  // `key`: the server's, "" if none. `track`: the user's sound. `on`: message(object, pcm) · closed("") · track(stream). Throws PageError: rtc_absent, rtc_blocked,
  // cross_origin, of which a WebSocket tells a page nothing, and unreachable where the WebSocket will say why nobody gets in just now
  static async open(url, key, track, on) {
    if (!globalThis.RTCPeerConnection) throw new PageError("rtc_absent");
    const road = new RtcRoad(track, on);
    try {
      await road.connect(url, key);
      return road;
    } catch (error) {
      road.close();
      throw error instanceof PageError ? error : new PageError("rtc_blocked", error.message);
    }
  }

  constructor(track, on) {
    this.on = on;
    this.peer = new RTCPeerConnection();
    this.peer.addTransceiver(track, { direction: "sendrecv" });
    this.peer.ontrack = ({ track: theirs }) => on.track(new MediaStream([theirs]));
    this.channel = this.peer.createDataChannel("duologue");
    this.channel.onmessage = ({ data }) => on.message(JSON.parse(data), new ArrayBuffer(0));
  }

  async connect(url, key) {
    const opened = new Promise((resolve) => (this.channel.onopen = resolve));
    await this.peer.setLocalDescription();
    await within(GATHER_MS, this.gathered()).catch(() => {});
    await this.peer.setRemoteDescription({ type: "answer", sdp: await this.exchange(url, key) });
    await within(CONNECT_MS, opened);
    this.channel.onclose = () => this.end();
    this.peer.onconnectionstatechange = () => this.watch();
  }

  gathered() {
    return new Promise((done) => {
      const look = () => this.peer.iceGatheringState === "complete" && done();
      this.peer.onicegatheringstatechange = look;
      look();
    });
  }

  async exchange(url, key) {
    const headers = { "Content-Type": "application/sdp", ...(key && { Authorization: `Bearer ${key}` }) };
    const offer = { method: "POST", headers, body: this.peer.localDescription.sdp };
    const answer = await fetch(url, { ...offer, signal: AbortSignal.timeout(CONNECT_MS) }).catch(() => ({ status: 503 }));
    if ([404, 405, 501].includes(answer.status)) throw new PageError("rtc_absent");
    if (answer.status === 403) throw new PageError("cross_origin");
    if ([401, 503].includes(answer.status)) throw new PageError("unreachable");
    if (!answer.ok) throw new PageError("rtc_blocked", `HTTP ${answer.status}`);
    return answer.text();
  }

  get up() {
    return this.channel.readyState === "open";
  }

  watch() {
    clearTimeout(this.timer);
    const state = this.peer.connectionState;
    if (state === "failed" || state === "closed") this.end();
    if (state === "disconnected") this.timer = setTimeout(() => this.end(), LOST_MS);
  }

  end() {
    this.close();
    this.on.closed("");
  }

  close() {
    clearTimeout(this.timer);
    this.channel.onclose = this.channel.onmessage = this.peer.onconnectionstatechange = null;
    this.peer.close();
  }

  send(message) {
    if (this.up) this.channel.send(JSON.stringify(message));
    return this.up;
  }

  // The track carries it.
  sendSound() {
    return false;
  }

  // {lost: share of packets, jitter_ms, round_trip_ms, concealed: share of samples, delay_ms: of the jitter buffer}
  async statistics() {
    const found = {};
    for (const report of (await this.peer.getStats()).values()) {
      if (report.type === "inbound-rtp") Object.assign(found, inbound(report));
      if (report.type === "candidate-pair" && report.nominated) found.round_trip_ms = 1000 * report.currentRoundTripTime;
    }
    return found;
  }
}

function inbound(report) {
  const share = (part, whole) => (whole ? part / whole : 0);
  return {
    lost: share(report.packetsLost, report.packetsLost + report.packetsReceived),
    jitter_ms: 1000 * report.jitter,
    concealed: share(report.concealedSamples - report.silentConcealedSamples, report.totalSamplesReceived),
    delay_ms: 1000 * share(report.jitterBufferDelay, report.jitterBufferEmittedCount),
  };
}

function within(ms, promise) {
  const late = new Promise((_, fail) => setTimeout(() => fail(new PageError("rtc_blocked")), ms));
  return Promise.race([promise, late]);
}
