// The settings panel: shows what the server says is in force and sends what is changed, one field at a time; and what
// concerns only this page and its devices. A field's `data-of` says whose it is: the server's or the page's; `data-needs`, on
// which others it depends: it cannot be changed while it would change nothing. A switch with `data-on` is a number, off at 0.

import { element } from "./element.js";
import { devices } from "./microphone.js";
import { knows, LANGUAGES, languageName, number, say, saying } from "./language.js";

const NUMBERS = ["speed", "intensity"];
const EVEN = "neutral"; // the tone of a voice without emotion

export class Settings {
  // `preferences`: what the page was told before. `on`: server(changed) · page(changed) · reset()
  constructor(dialog, preferences, on) {
    Object.assign(this, { dialog, on });
    this.form = dialog.querySelector("form");
    this.fields = this.form.elements;
    this.tone = "auto"; // taken up when emotion is switched on
    this.form.addEventListener("input", ({ target }) => this.echo(target));
    this.form.addEventListener("change", ({ target }) => this.change(target));
    this.form.addEventListener("keydown", (event) => this.keepOpen(event));
    this.form.querySelector("#reset").onclick = () => on.reset();
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
    this.fillLanguages();
    this.showPage(preferences);
  }

  // `name`: the field to begin with.
  open(name) {
    this.dialog.showModal();
    if (name) this.fields[name].focus();
    this.listDevices();
  }

  // ── The server's ──

  get names() {
    return [...this.form.querySelectorAll("[data-of=server]")].map(({ name }) => name);
  }

  show(settings) {
    for (const field of this.form.querySelectorAll("[data-of=server]")) {
      if (settings[field.name] === undefined || field === document.activeElement) continue;
      if (field.tagName === "SELECT") offer(field, settings[field.name]);
      if (field.type === "checkbox") check(field, settings[field.name]);
      else field.value = settings[field.name];
      this.echo(field);
    }
    if (settings.emotion && settings.emotion !== EVEN) this.tone = settings.emotion;
    this.fields.emotional.checked = settings.emotion !== EVEN;
    this.form.querySelector("#emotion").hidden = !this.fields.emotional.checked;
    this.settle();
  }

  // Where nothing of the server's finds feelings, there is nothing to switch.
  showEngines({ emotion }) {
    this.fields.feelings.disabled = emotion === "none";
    this.settle();
  }

  settle() {
    for (const field of this.form.querySelectorAll("[data-needs]")) {
      field.disabled = !field.dataset.needs.split(" ").every((need) => this.holds(...need.split("=")));
    }
  }

  holds(name, wanted) {
    const field = this.form.querySelector(`[name=${name}]`);
    return wanted === undefined ? field.checked && !field.disabled : field.value === wanted;
  }

  // Voices by name where the server tells them; else a text box. [{name, languages, speaker}]
  showVoices(voices) {
    if (!voices?.length) return;
    const chosen = this.fields.voice.value;
    const select = element("select", "");
    Object.assign(select, { name: "voice", id: this.fields.voice.id });
    select.dataset.of = "server";
    select.append(option("", say("voice_usual")));
    for (const { name, languages, speaker } of voices.filter((voice) => voice.name)) {
      select.append(option(name, [name, ...(languages ?? []).map(languageName), speaker].filter(Boolean).join(" · ")));
    }
    this.fields.voice.replaceWith(select);
    offer(select, chosen);
    select.value = chosen;
  }

  // What each speaker of the server's can do. [{languages, speaker, emotion, sample_rate, streaming, cloning, cancel, licence}]
  abilities(voices) {
    const each = new Map(voices.map((voice) => [voice.speaker, voice]));
    return [...each.values()].map((voice) => [
      voice.speaker,
      [
        voice.languages.map(languageName).join(", "),
        say(`streaming_${voice.streaming}`),
        say(`telling_${voice.emotion}`),
        voice.cloning && say("cloning"),
        say(`stops_${voice.cancel}`),
        `${number(voice.sample_rate, 0)} Hz`,
        voice.licence,
      ].filter(Boolean).join(" · "),
    ]);
  }

  // [[name, text]]: the profile, the engines, the session.
  showInUse(facts) {
    const rows = facts.flatMap(([name, text]) => [element("dt", "", knows(name) ? say(name) : name), element("dd", "", text)]);
    this.form.querySelector("#in-use").replaceChildren(...rows);
  }

  // ── The page's ──

  showPage(preferences) {
    for (const field of this.form.querySelectorAll("[data-of=page]")) {
      const value = preferences[field.name];
      if (field.type === "checkbox") field.checked = value ?? true;
      else if (value !== undefined) field.value = value;
    }
  }

  fillLanguages() {
    for (const code of LANGUAGES) {
      const own = new Intl.DisplayNames([code], { type: "language" }).of(code);
      for (const select of [this.fields.language, this.fields.interface]) {
        const made = option(code, own.charAt(0).toLocaleUpperCase(code) + own.slice(1));
        made.lang = code;
        select.append(made);
      }
    }
  }

  async listDevices() {
    for (const [name, kind] of [["microphone", "audioinput"], ["speaker", "audiooutput"]]) {
      const select = this.fields[name];
      const found = await devices(kind);
      const chosen = select.value;
      const usual = saying(option("", ""), "device_usual");
      select.replaceChildren(usual, ...found.map((device) => option(device.id, device.name)));
      select.value = found.some(({ id }) => id === chosen) ? chosen : "";
      select.closest("label").hidden = !found.length || select.dataset.never === "true";
    }
  }

  // ── Changes ──

  change(field) {
    if (field.name === "emotional") this.on.server({ emotion: field.checked ? this.tone : EVEN });
    else if (field.dataset.of === "server") this.on.server({ [field.name]: value(field) });
    else if (field.dataset.of === "page") this.on.page({ [field.name]: value(field) });
    this.settle();
  }

  echo(field) {
    const output = field.closest("label")?.querySelector("output");
    if (output) output.textContent = `× ${number(Number(field.value), 2)}`;
  }

  // Enter in a text field means "this is it", not "close the panel".
  keepOpen(event) {
    if (event.key !== "Enter" || !["text", "password"].includes(event.target.type)) return;
    event.preventDefault();
    event.target.blur();
  }
}

function check(field, value) {
  field.checked = Boolean(value);
  if (field.checked && field.dataset.on) field.dataset.on = value;
}

function value(field) {
  if (field.dataset.on) return field.checked ? Number(field.dataset.on) : 0;
  if (field.type === "checkbox") return field.checked;
  if (field.name === "key") return field.value.trim(); // pasted with what stood around it
  return NUMBERS.includes(field.name) ? Number(field.value) : field.value;
}

function option(of, text) {
  const made = element("option", "", text);
  made.value = of;
  return made;
}

// A value that the page does not know yet can still be shown, and chosen again.
function offer(select, wanted) {
  if ([...select.options].some((known) => known.value === wanted)) return;
  const key = `${select.name}_${wanted}`;
  select.append(option(wanted, knows(key) ? say(key) : wanted));
}
