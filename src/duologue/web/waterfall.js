// The latency of one turn as a picture: from the user's last voiced sample to the first sound of the answer.

import { element } from "./element.js";

const NAMES = {
  silence: "noticing the pause",
  transcript: "your words",
  endpoint: "being sure that you had finished",
  first_token: "the first word",
  first_audio: "the first sound",
  voice_to_voice: "its first audible moment",
};
const PX_PER_MS = 0.16; // 1 s is 160 px: one scale for all turns, so that they compare at a glance

export function waterfall(total, parts) {
  const shown = Object.entries(parts).filter(([, ms]) => ms > 0);
  const details = element("details", "latency");
  const summary = element("summary", "");
  summary.append(bar(shown, total), `answered after ${seconds(total)}`);
  details.append(summary, legend(shown));
  return details;
}

export function seconds(ms) {
  return `${(ms / 1000).toFixed(2)} s`;
}

function bar(shown, total) {
  const made = element("span", "bar");
  made.ariaHidden = "true";
  made.style.width = `${Math.min(240, Math.max(24, total * PX_PER_MS))}px`;
  shown.forEach(([, ms], i) => {
    const part = element("i", `p${i % 6}`);
    part.style.flexGrow = ms;
    made.append(part);
  });
  return made;
}

function legend(shown) {
  const list = element("dl", "");
  shown.forEach(([name, ms], i) => {
    const term = element("dt", "");
    term.append(element("i", `p${i % 6}`), NAMES[name] ?? name.replaceAll("_", " "));
    list.append(term, element("dd", "", `${Math.round(ms)} ms`));
  });
  return list;
}
