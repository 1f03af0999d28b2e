// Latency as pictures: one turn's waterfall, from the user's last voiced sample to the first sound of the answer that is heard;
// and the turns of a session beside each other. Times are ms. Knows nothing of how they were measured.

import { element } from "./element.js";
import { knows, say, seconds } from "./language.js";

const PX_PER_MS = 0.16; // 1 s is 160 px: one scale for all turns, so that they compare at a glance
const COLUMNS = 24; // turns in the chart
export const STAGES = ["silence", "transcript", "endpoint", "first_token", "first_audio", "voice_to_voice", "way"];

// The row under a turn: its latency, which opens the waterfall and the `remarks`, and `facts`. `latency`: {total, parts} or null.
export function waterfall(latency, facts, remarks) {
  const after = latency && say("answered_after", { time: seconds(latency.total) });
  const line = element("span", "", [after, ...facts].filter(Boolean).join(" · "));
  if (!latency && !remarks.length) return wrapped("p", "meta", line);
  const summary = wrapped("summary", "", ...(latency ? [bar(latency)] : []), line);
  const more = remarks.map((remark) => element("p", "remark", remark));
  return wrapped("details", "meta", summary, ...(latency ? [steps(latency)] : []), ...more);
}

function wrapped(name, className, ...parts) {
  const made = element(name, className);
  made.append(...parts);
  return made;
}

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

function shown({ parts }) {
  const known = Object.entries(parts).filter(([, ms]) => ms >= 0.5);
  return known.sort(([a], [b]) => STAGES.indexOf(a) - STAGES.indexOf(b));
}

export function stageName(stage) {
  return knows(`stage_${stage}`) ? say(`stage_${stage}`) : stage.replaceAll("_", " ");
}

function bar(latency) {
  const made = element("span", "bar");
  made.ariaHidden = "true";
  made.style.width = `${Math.min(240, Math.max(24, latency.total * PX_PER_MS))}px`;
  for (const [stage, ms] of shown(latency)) {
    const part = element("i", `stage ${stage}`);
    part.style.flexGrow = ms;
    made.append(part);
  }
  return made;
}

// Each step where it happened on the turn's own scale.
function steps(latency) {
  const list = element("ol", "steps");
  let from = 0;
  for (const [stage, ms] of shown(latency)) {
    const track = element("span", "track");
    const step = element("i", `stage ${stage}`);
    step.style.left = `${(100 * from) / latency.total}%`;
    step.style.width = `${(100 * ms) / latency.total}%`;
    track.append(step);
    const item = element("li", "");
    item.append(element("span", "", stageName(stage)), track, element("b", "", `${Math.round(ms)} ms`));
    list.append(item);
    from += ms;
  }
  return list;
}

// The newest turns as columns, with the session's median and 95th percentile as lines.
export function columns(latencies) {
  const totals = latencies.map(({ total }) => total);
  const [median, p95] = [percentile(totals, 0.5), percentile(totals, 0.95)];
  const top = Math.max(...totals) * 1.08;
  const picture = element("div", "columns");
  picture.role = "img";
  picture.ariaLabel = say("chart", { count: totals.length, median: seconds(median), p95: seconds(p95) });
  for (const latency of latencies.slice(-COLUMNS)) picture.append(column(latency, top));
  picture.append(line("median", median / top), line("p95", p95 / top));
  return picture;
}

function column(latency, top) {
  const made = element("span", "column");
  made.style.height = `${(100 * latency.total) / top}%`;
  made.title = seconds(latency.total);
  for (const [stage, ms] of shown(latency)) {
    const part = element("i", `stage ${stage}`);
    part.style.flexGrow = ms;
    made.append(part);
  }
  return made;
}

function line(name, height) {
  const made = element("i", `mark ${name}`);
  made.style.bottom = `${100 * height}%`;
  return made;
}
