// Everything between the page and the sound hardware: one AudioContext and its graph.
//
//   microphone ─ gate ─┐
//   dropped file ──────┴─ voice ─┬─ listener (first input) ── frames, levels, recording
//                                └─ upstream: a track for a peer connection
//   player ──────────────┐
//   a peer's track ──────┴─ out ─┬─ listener (second input)
//                                └─ the loudspeaker
//
// Knows nothing of the conversation or of sockets; times are in ms of a reply's own sound.

import { openMicrophone } from "./microphone.js";
import { PageError } from "./errors.js";

export const WIRE_RATE = 16_000; // Hz, to the server: what recognition runs at
export const REPLY_RATE = 24_000; // Hz, from the server: what the best voices speak at
const HIGHEST_RATE = 96_000; // Hz; a faster device is run at 48 kHz, the browser converts
const FADE_S = 0.004; // time constant of the gate and of a cut on a peer's track: silent after 10 ms

export class Sound {
  // `on`: frame({pcm, level, replyLevel, onset}) · both(stereo PCM16) · played({turn, ms, playing}) · suspended(bool) · lost() · full()
  constructor(on) {
    this.on = on;
    this.context = openContext();
    this.rate = this.context.sampleRate;
    this.underruns = 0;
    this.buffer_ms = 0;
    this.generation = 0; // of what is played; see player.worklet.js
    this.silenced = -1; // the last turn whose sound was thrown away: what is still on its way is thrown away too
    this.sources = new Map(); // "microphone" | "file" → {node, stop}
    this.wishes = 0; // for a microphone, and for none: one that comes after a later wish is given back
    this.connectEdges();
    this.built = this.build();
    this.built.catch(() => {}); // told to whoever asks for sound
    this.context.onstatechange = () => this.watch();
    document.addEventListener("visibilitychange", () => this.comeBack());
    document.addEventListener("pointerdown", () => this.comeBack());
  }

  connectEdges() {
    this.gate = new GainNode(this.context);
    this.voice = new GainNode(this.context, { channelCount: 1, channelCountMode: "explicit" });
    this.remote = new GainNode(this.context);
    this.out = new GainNode(this.context, { channelCount: 1, channelCountMode: "explicit" });
    this.gate.connect(this.voice);
    this.remote.connect(this.out);
    this.out.connect(this.context.destination);
  }

  async build() {
    if (!this.context.audioWorklet) throw new PageError("insecure");
    const module = (name) => this.context.audioWorklet.addModule(new URL(name, import.meta.url));
    await Promise.all([module("listener.worklet.js"), module("player.worklet.js")]);
    this.player = new AudioWorkletNode(this.context, "player", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { rate: REPLY_RATE },
    });
    this.player.port.onmessage = ({ data }) => (data.full ? this.on.full() : this.report(data));
    this.player.connect(this.out);
    this.listener = this.makeListener();
  }

  makeListener() {
    const listener = new AudioWorkletNode(this.context, "listener", {
      numberOfInputs: 2,
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { wire: WIRE_RATE, tape: REPLY_RATE },
    });
    listener.port.onmessage = ({ data }) => (data.both ? this.on.both(data.both) : this.on.frame(data));
    this.voice.connect(listener, 0, 0);
    this.out.connect(listener, 0, 1);
    listener.connect(this.context.destination); // it gives out silence; without this some browsers do not run it
    return listener;
  }

  // ── Starting, and going on after a telephone call ──

  // Call it from a click, tap or key: browsers start sound only then.
  async unlock() {
    this.asked = true;
    if (navigator.audioSession) navigator.audioSession.type = "play-and-record"; // an iPhone set to silent still answers
    await Promise.all([this.built, this.context.resume()]);
  }

  watch() {
    const running = this.context.state === "running";
    this.on.suspended(Boolean(this.asked) && !running);
    if (this.asked && !running) this.comeBack();
  }

  comeBack() {
    if (this.asked && !document.hidden && this.context.state !== "running") this.context.resume().catch(() => {});
  }

  // Whether there is sound at all; without a secure address browsers allow none.
  get able() {
    return Boolean(this.context.audioWorklet);
  }

  // ── The user's side ──

  get busy() {
    return this.sources.size > 0;
  }

  get listening() {
    return this.sources.has("microphone");
  }

  // `wanted`: see microphone.js. Also exchanges a microphone that is open.
  async listen(wanted) {
    const wish = ++this.wishes;
    const unlocked = this.unlock();
    unlocked.catch(() => {}); // told below, once there is a microphone to give back
    const stream = await openMicrophone(wanted);
    const tracks = stream.getTracks();
    const stop = () => tracks.forEach((track) => track.stop());
    await unlocked.catch((error) => (stop(), Promise.reject(error)));
    if (wish !== this.wishes) return stop();
    this.release("microphone");
    tracks.forEach((track) => (track.onended = () => this.lose()));
    this.attach("microphone", this.context.createMediaStreamSource(stream), this.gate, stop);
    if (this.sources.has("file")) this.gate.disconnect();
    return undefined;
  }

  // Whether the microphone is let through: muting, and push-to-talk.
  open(is) {
    this.gate.gain.setTargetAtTime(is ? 1 : 0, this.context.currentTime, FADE_S);
  }

  // Speaks a sound file as if into the microphone, at its own pace; a live microphone is left out meanwhile.
  async speak(file, started) {
    await this.unlock();
    const buffer = await this.decode(file);
    const node = new AudioBufferSourceNode(this.context, { buffer });
    this.release("file");
    this.gate.disconnect();
    this.attach("file", node, this.voice, () => node.stop());
    node.start();
    started();
    await new Promise((ended) => (node.onended = ended));
    if (this.sources.get("file")?.node === node) this.endFile();
  }

  async decode(file) {
    try {
      return await this.context.decodeAudioData(await file.arrayBuffer());
    } catch {
      throw new PageError("unreadable_audio", file.name);
    }
  }

  endFile() {
    this.release("file");
    this.gate.connect(this.voice);
  }

  attach(name, node, to, stop) {
    this.sources.set(name, { node, stop });
    node.connect(to);
    this.tellLive();
  }

  release(name) {
    const source = this.sources.get(name);
    this.sources.delete(name);
    source?.node.disconnect();
    source?.stop();
    this.tellLive();
  }

  tellLive() {
    this.listener?.port.postMessage({ live: this.busy });
  }

  // The listener goes on with silence for a moment, so that the server hears the end of the sentence.
  stop() {
    this.wishes += 1;
    if (this.sources.has("file")) this.endFile();
    this.release("microphone");
  }

  lose() {
    this.release("microphone");
    this.on.lost();
  }

  // The user's side as a track, for a peer connection.
  get upstream() {
    if (!this.stream) {
      this.stream = this.context.createMediaStreamDestination();
      this.voice.connect(this.stream);
    }
    return this.stream.stream.getAudioTracks()[0];
  }

  // ── The reply's side ──

  play(turn, pcm, at_ms, final) {
    if (turn <= this.silenced || !this.player) return;
    this.player.port.postMessage({ do: "push", turn, pcm, at_ms, final }, [pcm]);
  }

  // A peer's track. Chromium gives its sound to the graph only while an element plays it too.
  playTrack(stream) {
    this.element ??= new Audio();
    this.element.muted = true;
    this.element.srcObject = stream;
    this.element.play().catch(() => {}); // allowed once the user has asked for sound; the graph is what is heard
    this.peer?.disconnect();
    this.peer = this.context.createMediaStreamSource(stream);
    this.peer.connect(this.remote);
    this.letThrough(true);
  }

  // The server silences a peer's track itself; this is sooner by the way there and back.
  letThrough(is) {
    this.remote.gain.setTargetAtTime(is ? 1 : 0, this.context.currentTime, FADE_S);
  }

  hold() {
    this.player?.port.postMessage({ do: "hold" });
  }

  resume() {
    this.player?.port.postMessage({ do: "resume" });
  }

  drop(turn) {
    this.silenced = Math.max(this.silenced, turn);
    this.player?.port.postMessage({ do: "drop", generation: ++this.generation });
  }

  // A new session, or a turn that was opened again: sound of the same numbers will be other sound.
  forget() {
    this.drop(-1);
    this.silenced = -1;
  }

  report({ generation, turn, played, playing, underruns, start }) {
    this.underruns = underruns;
    this.buffer_ms = Math.round(start * 1000);
    if (generation !== this.generation) return;
    const late = playing ? this.context.outputLatency || 0 : 0; // given out, but not yet at the loudspeaker
    const ms = Math.max(0, (played / this.rate - late) * 1000);
    this.on.played({ turn, ms, playing });
  }

  // ── Loudspeakers ──

  get choosesSpeaker() {
    return "setSinkId" in AudioContext.prototype || "setSinkId" in HTMLMediaElement.prototype;
  }

  // `id` "": the usual one. Where a context cannot choose, an element plays what the graph gives, a little later.
  async speaker(id) {
    if (this.context.setSinkId) return this.context.setSinkId(id);
    if (!id && !this.detour) return undefined;
    this.detour ??= this.makeDetour();
    return this.detour.setSinkId(id);
  }

  makeDetour() {
    const stream = this.context.createMediaStreamDestination();
    this.out.disconnect(this.context.destination);
    this.out.connect(stream);
    const element = new Audio();
    element.srcObject = stream.stream;
    element.play();
    return element;
  }
}

function openContext() {
  const context = new AudioContext({ latencyHint: "interactive" });
  if (context.sampleRate <= HIGHEST_RATE) return context;
  context.close();
  return new AudioContext({ latencyHint: "interactive", sampleRate: 48_000 });
}
