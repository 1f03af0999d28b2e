// Microphone (or a dropped file) in, blocks of PCM16 out, at the context's own rate: the server resamples, once and well.
// Knows nothing of devices or sockets.

const BLOCK_S = 0.024; // a little under the server's 32 ms frame, so that no frame waits for two blocks
const TAIL_S = 2; // silence sent after the source ended: longer than any pause the server waits for before it answers

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(Math.round((BLOCK_S * sampleRate) / 128) * 128);
    this.filled = 0;
    this.energy = 0;
    this.tail = 0;
  }

  process([channels]) {
    const samples = channels[0]; // missing while nothing is connected or the file has ended
    if (samples) this.tail = TAIL_S * sampleRate;
    else if (this.tail <= 0) return true;
    else this.tail -= 128;
    for (let i = 0; i < 128; i++) this.push(samples ? samples[i] : 0);
    if (this.filled === this.block.length) this.send();
    return true;
  }

  push(sample) {
    this.block[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
    this.energy += sample * sample;
  }

  send() {
    const pcm = this.block.slice().buffer;
    this.port.postMessage({ pcm, level: Math.sqrt(this.energy / this.filled) }, [pcm]);
    this.filled = this.energy = 0;
  }
}

registerProcessor("capture", Capture);
