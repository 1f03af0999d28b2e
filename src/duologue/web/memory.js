// What the browser keeps for this page: preferences for good, the conversation for as long as the tab lives.
// Where it keeps nothing (private windows, full storage) the page works, and forgets.

const NAME = "duologue";

export class Memory {
  constructor() {
    this.preferences = read("localStorage");
    this.session = read("sessionStorage"); // {token, entries, why …}
  }

  prefer(changed) {
    Object.assign(this.preferences, changed);
    write("localStorage", { ...read("localStorage"), ...changed }); // another tab may have changed others
  }

  keep(changed) {
    Object.assign(this.session, changed);
    write("sessionStorage", this.session);
  }

  // A duplicated tab has a copy of all this; the session itself can only be one tab's. False: another tab has it.
  async claim(token) {
    if (!token || !navigator.locks) return Boolean(token);
    return new Promise((claimed) => {
      const held = () => (claimed(true), new Promise(() => {}));
      navigator.locks.request(`${NAME} ${token}`, { signal: AbortSignal.timeout(CLAIM_MS) }, held).catch(() => claimed(false));
    });
  }
}

const CLAIM_MS = 500; // the page that was here before a reload may hold its claim for a moment

function read(storage) {
  try {
    return JSON.parse(globalThis[storage].getItem(NAME)) ?? {};
  } catch {
    return {};
  }
}

function write(storage, value) {
  try {
    globalThis[storage].setItem(NAME, JSON.stringify(value));
  } catch {
    // nothing is kept
  }
}
