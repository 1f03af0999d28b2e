// The recording of both sides, for export: stereo PCM16, the user on the left, the reply on the right.
// It stays in this page. Knows no audio graph.

const MOST_S = 3600; // then the oldest minute goes; an hour is 346 MB, which the browser keeps outside the page
const PART_S = 10;
const HEADER_BYTES = 44;

export class Tape {
  constructor(rate) {
    this.rate = rate;
    this.clear();
  }

  clear() {
    this.parts = []; // Blobs of PART_S each
    this.loose = [];
    this.looseBytes = 0;
  }

  add(both) {
    this.loose.push(both);
    this.looseBytes += both.byteLength;
    if (this.looseBytes < PART_S * this.bytesPerSecond) return;
    this.parts.push(new Blob(this.loose));
    if (this.parts.length > MOST_S / PART_S) this.parts.shift();
    this.loose = [];
    this.looseBytes = 0;
  }

  get bytesPerSecond() {
    return this.rate * 4;
  }

  wav() {
    const pcm = new Blob([...this.parts, ...this.loose]);
    return new Blob([this.header(pcm.size), pcm], { type: "audio/wav" });
  }

  header(bytes) {
    const view = new DataView(new ArrayBuffer(HEADER_BYTES));
    const ascii = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
    const number = (at, value, size) => (size === 2 ? view.setUint16(at, value, true) : view.setUint32(at, value, true));
    ascii(0, "RIFF");
    number(4, bytes + HEADER_BYTES - 8);
    ascii(8, "WAVEfmt ");
    number(16, 16); // length of what describes the format
    number(20, 1, 2); // PCM
    number(22, 2, 2); // channels
    number(24, this.rate);
    number(28, this.bytesPerSecond);
    number(32, 4, 2); // bytes of a sample of both channels
    number(34, 16, 2); // bits of a sample
    ascii(36, "data");
    number(40, bytes);
    return view;
  }
}
