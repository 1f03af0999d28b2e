// Everything between the page and the sound hardware: one AudioContext, a capture worklet, a player worklet.
// Knows nothing of the conversation or the socket; times are in ms of a reply's own sound.

const HIGHEST_RATE = 96_000; // Hz; the server takes no more. A faster device is run at 48 kHz, the browser converts
const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export class Sound {
  // `on`: frame(pcm, level) · played({turn, ms, playing, level}) · suspended(bool) · lost() · full()
  constructor(on) {
    this.on = on;
    this.context = openContext();
    this.rate = this.context.sampleRate;
    this.underruns = 0;
    this.generation = 0; // of what is played; see player.worklet.js
    this.silenced = -1; // the last turn whose sound was thrown away: what is still on its way is thrown away too
    this.sources = new Map(); // "microphone" | "file" → {node, stop}
    this.built = this.build();
    this.built.catch(() => {}); // told to whoever asks for sound
    this.context.onstatechange = () => on.suspended(this.asked && this.context.state !== "running");
  }

  async build() {
    if (!this.context.audioWorklet) throw new PageError("insecure");
    const module = (name) => this.context.audioWorklet.addModule(new URL(name, import.meta.url));
    await Promise.all([module("capture.worklet.js"), module("player.worklet.js")]);
    this.player = new AudioWorkletNode(this.context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.player.port.onmessage = ({ data }) => (data.full ? this.on.full() : this.report(data));
    this.player.connect(this.context.destination);
    this.capture = new AudioWorkletNode(this.context, "capture", { channelCount: 1, channelCountMode: "explicit" });
    this.capture.port.onmessage = ({ data }) => this.on.frame(data.pcm, data.level);
    this.capture.connect(this.context.destination); // it gives out silence; without this some browsers do not run it
  }

  // Call it from a click, tap or key: browsers start sound only then.
  async unlock() {
    this.asked = true;
    await Promise.all([this.built, this.context.resume()]);
  }

  get busy() {
    return this.sources.size > 0;
  }

  async listen() {
    if (!navigator.mediaDevices) throw new PageError("insecure");
    const [stream] = await Promise.all([navigator.mediaDevices.getUserMedia({ audio: MICROPHONE }), this.unlock()]);
    const node = this.context.createMediaStreamSource(stream);
    stream.getTracks().forEach((track) => (track.onended = () => this.lose()));
    this.attach("microphone", node, () => stream.getTracks().forEach((track) => track.stop()));
  }

  // Speaks a sound file as if into the microphone, at its own pace; a live microphone is left out meanwhile.
  async speak(file, started) {
    await this.unlock();
    const buffer = await this.decode(file);
    const node = new AudioBufferSourceNode(this.context, { buffer });
    this.release("file");
    this.sources.get("microphone")?.node.disconnect();
    this.attach("file", node, () => node.stop());
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
    this.sources.get("microphone")?.node.connect(this.capture);
  }

  attach(name, node, stop) {
    this.sources.set(name, { node, stop });
    node.connect(this.capture);
  }

  release(name) {
    const source = this.sources.get(name);
    this.sources.delete(name);
    source?.node.disconnect();
    source?.stop();
  }

  // The capture worklet goes on with silence for a moment, so that the server hears the end of the sentence.
  stop() {
    this.release("file");
    this.release("microphone");
  }

  lose() {
    this.release("microphone");
    this.on.lost();
  }

  play(turn, pcm, final) {
    if (turn <= this.silenced || !this.player) return;
    const samples = Float32Array.from(new Int16Array(pcm), (sample) => sample / 32768);
    this.player.port.postMessage({ do: "push", turn, samples, final }, [samples.buffer]);
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

  report({ generation, turn, played, playing, level, underruns }) {
    this.underruns = underruns;
    if (generation !== this.generation) return;
    const late = playing ? this.context.outputLatency || 0 : 0; // given out, but not yet at the loudspeaker
    const ms = Math.max(0, (played / this.rate - late) * 1000);
    this.on.played({ turn, ms, playing, level });
  }
}

// An error that the page itself explains, by `code`; see notices.js.
export class PageError extends Error {
  constructor(code, detail = "") {
    super(code);
    this.code = code;
    this.detail = detail;
  }
}

function openContext() {
  const context = new AudioContext({ latencyHint: "interactive" });
  if (context.sampleRate <= HIGHEST_RATE) return context;
  context.close();
  return new AudioContext({ latencyHint: "interactive", sampleRate: 48_000 });
}
