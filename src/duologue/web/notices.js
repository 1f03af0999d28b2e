// What went wrong, in words that say what to do next. One notice at a time; a newer one takes its place.

import { knows, say } from "./language.js";

const QUIET_MS = 8000; // long enough to read twice

export class Notices {
  constructor(box) {
    this.box = box;
    this.part = (name) => document.getElementById(`notice-${name}`);
    this.code = "";
    this.part("close").onclick = () => this.hide(this.code);
  }

  // `act`: {label, run} for the one thing that the reader can do about it. A quiet notice interrupts nobody, and goes.
  show(code, { detail = "", values = {}, act, quiet = false } = {}) {
    clearTimeout(this.timer);
    this.code = code;
    this.box.role = quiet ? "status" : "alert";
    this.box.classList.toggle("quiet-notice", quiet);
    const todo = knows(`${code}_do`) && say(`${code}_do`, { still: say("still"), ...values });
    this.write("title", say(knows(code) ? code : "failed"));
    this.write("text", [todo, detail].filter(Boolean).join(" "));
    this.part("act").hidden = !act;
    this.part("act").textContent = act?.label ?? "";
    this.part("act").onclick = () => act.run();
    this.box.hidden = false;
    if (quiet) this.timer = setTimeout(() => this.hide(code), QUIET_MS);
  }

  // A screen reader says again what is written again.
  write(name, text) {
    if (this.part(name).textContent !== text) this.part(name).textContent = text;
  }

  // An error of the browser, of this page or of the server; what is not known here speaks for itself.
  showError({ code, name, message, detail = "" }) {
    const key = typeof code === "string" ? code : name; // a DOMException has a number as its code
    this.show(key, { detail: knows(`${key}_do`) ? detail : message });
  }

  hide(...codes) {
    if (codes.includes(this.code)) this.box.hidden = true;
  }

  get shown() {
    return this.box.hidden ? "" : this.code;
  }
}
