// The panel that says what is going on: waiting times, and how the sound travels. Asks for its facts once a second while open.

import { element } from "./element.js";
import { number, say, seconds } from "./language.js";
import { columns, percentile, STAGES, stageName } from "./waterfall.js";

const EVERY_MS = 1000;

export class Insights {
  // `ask()` → promise of {latencies, road, why, underruns, buffer_ms, rate, statistics}
  constructor(panel, button, ask) {
    Object.assign(this, { panel, button, ask });
    this.part = (name) => panel.querySelector(`#insights-${name}`);
    button.onclick = () => this.open(panel.hidden);
    this.part("close").onclick = () => this.open(false);
    panel.onkeydown = ({ key }) => key === "Escape" && this.open(false);
  }

  open(is) {
    this.panel.hidden = !is;
    this.button.ariaExpanded = String(is);
    document.body.classList.toggle("with-insights", is);
    clearInterval(this.timer);
    if (!is) return this.button.focus();
    this.timer = setInterval(() => this.refresh(), EVERY_MS);
    if (getComputedStyle(this.panel).position === "fixed") this.part("close").focus(); // it covers what was in focus
    return this.refresh();
  }

  async refresh() {
    if (this.panel.hidden) return;
    const facts = await this.ask();
    this.drawLatency(facts.latencies);
    const rows = soundFacts(facts).flatMap(([name, text]) => [element("dt", "", say(name)), element("dd", "", text)]);
    this.part("sound").replaceChildren(...rows);
  }

  // Drawn again only when there is something new: the columns rise once, not every second.
  drawLatency(latencies) {
    const key = document.documentElement.lang + JSON.stringify(latencies.map(({ total }) => total));
    if (key === this.key) return;
    this.key = key;
    const known = latencies.length > 0;
    this.part("none").hidden = known;
    this.part("figures").hidden = this.part("chart").hidden = !known;
    if (!known) return;
    const totals = latencies.map(({ total }) => total);
    this.part("median").textContent = seconds(percentile(totals, 0.5));
    this.part("p95").textContent = seconds(percentile(totals, 0.95));
    this.part("chart").replaceChildren(columns(latencies), legend(latencies));
  }
}

function legend(latencies) {
  const list = element("ul", "legend");
  for (const stage of STAGES.filter((name) => latencies.some(({ parts }) => parts[name] > 0))) {
    const item = element("li", "");
    item.append(element("i", `stage ${stage}`), stageName(stage));
    list.append(item);
  }
  return list;
}

function soundFacts({ road, why, underruns, buffer_ms, rate, statistics }) {
  const per100 = (share) => `${number(100 * share, 1)} %`;
  const ms = (value) => `${number(value, 0)} ms`;
  const road_name = road && say(`road_${road}`);
  return [
    ["road", [road_name, why && say(why)].filter(Boolean).join(": ")],
    ["underruns", road !== "rtc" && number(underruns, 0)],
    ["buffer", road !== "rtc" && ms(buffer_ms)],
    ["lost_packets", known(statistics.lost, per100)],
    ["concealed", known(statistics.concealed, per100)],
    ["jitter", known(statistics.jitter_ms, ms)],
    ["round_trip", known(statistics.round_trip_ms, ms)],
    ["buffer", known(statistics.delay_ms, ms)],
    ["rate", `${number(rate / 1000, 1)} kHz`],
  ].filter(([, text]) => text);
}

function known(value, form) {
  return Number.isFinite(value) && form(value);
}
