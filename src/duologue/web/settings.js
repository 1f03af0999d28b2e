// The settings panel: shows what the server says is in force, and sends what is changed, one field at a time.

import { element } from "./element.js";

const NUMBERS = ["speed", "intensity"];

export class Settings {
  // `change(settings)` is called with the fields that the reader changed.
  constructor(dialog, change) {
    this.dialog = dialog;
    this.form = dialog.querySelector("form");
    this.form.addEventListener("input", ({ target }) => this.echo(target));
    this.form.addEventListener("change", ({ target }) => change({ [target.name]: value(target) }));
    this.form.addEventListener("keydown", (event) => this.keepOpen(event));
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  }

  open(facts) {
    const list = this.dialog.querySelector("#facts");
    list.replaceChildren(...facts.flatMap(([name, text]) => [element("dt", "", name), element("dd", "", text)]));
    this.dialog.showModal();
  }

  show(settings) {
    for (const field of this.form.elements) {
      if (!field.name || settings[field.name] === undefined || field === document.activeElement) continue;
      field.value = settings[field.name];
      this.echo(field);
    }
  }

  echo(field) {
    const output = field.closest("label")?.querySelector("output");
    if (output) output.textContent = `× ${Number(field.value).toFixed(2)}`;
  }

  // Enter in a text field means "this is it", not "close the panel".
  keepOpen(event) {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    event.target.blur();
  }
}

function value(field) {
  return NUMBERS.includes(field.name) ? Number(field.value) : field.value;
}
