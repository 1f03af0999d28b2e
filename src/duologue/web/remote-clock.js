// Where in a reply the listener is when its sound comes as a peer's track, which says nothing about it: reckoned from the
// server's word that it begins, and the time since. Time is an argument, in ms. Knows no screen and no network.

const DEFAULT_DELAY_MS = 60; // what a jitter buffer keeps back while it has told nothing

export class RemoteClock {
  constructor() {
    this.delay = DEFAULT_DELAY_MS; // of the jitter buffer; see rtc.js
    this.drop();
  }

  drop() {
    this.turn = -1;
    this.position = this.since = 0; // ms of the reply's sound that were heard, and when
    this.begun = this.held = false;
  }

  // The reply's sound is announced; `at_ms`: where in it, which for a reply that is taken up again is not the start.
  announced(turn, at_ms) {
    if (turn !== this.turn) Object.assign(this, { turn, position: at_ms - this.delay, begun: false, held: false });
  }

  begin(turn, now) {
    this.announced(turn, 0);
    Object.assign(this, { begun: true, since: now });
  }

  hold(now) {
    this.heard(now);
    this.held = true;
  }

  resume(now) {
    Object.assign(this, { held: false, since: now });
  }

  // Ms of the reply `turn` that have been heard.
  heard(now) {
    if (this.begun && !this.held) this.position += now - this.since;
    this.since = now;
    return Math.max(0, this.position);
  }
}
