// Who may speak into the microphone when: hands-free with a mute, or only while a button or the space bar is held.
// Drives sound.js; knows no server and draws nothing.

const RELEASE_MS = 150; // people let go with their last syllable still on its way
const BLOCK_MS = 40; // and the last block of sound leaves after that
const REST_MS = 30_000; // a microphone held open for the next press is let go

export class Talk {
  // `on`: starting() · taking() the floor · ended() a turn · changed() · failed(error)
  constructor(sound, wanted, on) {
    Object.assign(this, { sound, wanted, on });
    this.asking = this.muted = this.held = false;
  }

  get holding() {
    return this.wanted().mode === "hold";
  }

  get open() {
    return this.sound.listening && (this.holding ? this.held : !this.muted);
  }

  // A click on the button, or the space bar, where nothing is to be held.
  toggle() {
    if (this.asking) return;
    if (this.sound.busy) this.stop();
    else this.start();
  }

  async start() {
    this.muted = false;
    this.asking = true;
    this.on.changed();
    this.on.starting();
    try {
      await this.sound.listen(this.wanted());
    } catch (error) {
      this.held = false;
      this.on.failed(error);
    }
    this.asking = false;
    this.settle();
  }

  stop() {
    this.sound.stop();
    this.held = false;
    this.settle();
  }

  mute() {
    if (!this.sound.listening || this.holding) return;
    this.muted = !this.muted;
    this.settle();
  }

  async press() {
    if (this.held || this.asking) return;
    this.held = true;
    clearTimeout(this.resting);
    this.on.taking();
    if (this.sound.listening) this.settle();
    else await this.start();
  }

  release() {
    if (!this.held) return;
    this.held = false;
    setTimeout(() => this.held || this.settle(), RELEASE_MS);
    setTimeout(() => this.held || this.on.ended(), RELEASE_MS + BLOCK_MS);
    this.resting = setTimeout(() => this.holding && this.stop(), REST_MS);
  }

  // Another microphone or other processing is wanted.
  exchange() {
    if (this.sound.listening) this.sound.listen(this.wanted()).catch((error) => this.on.failed(error));
  }

  // Also after a change of mode.
  settle() {
    this.sound.open(this.holding ? this.held : !this.muted);
    this.on.changed();
  }
}
