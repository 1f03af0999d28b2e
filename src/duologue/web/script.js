// The conversation on the screen, as a play's script: who said what, and how much of it was heard.
// Draws the entries of conversation.js, and of each only what has changed. Knows no socket and no sound.

import { element } from "./element.js";
import { knows, languageName, number, say, saying } from "./language.js";
import { waterfall } from "./waterfall.js";

const NEAR_PX = 80; // from the end: the reader is at the end
const SURE = 0.6; // of a feeling that is shown: the server answers none that it is less sure of

export class Script {
  constructor(log, welcome) {
    this.log = log;
    this.welcome = welcome;
    this.box = log.parentElement;
    this.atEnd = true; // of what there is to read
    this.box.onscroll = () => (this.atEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR_PX);
    new ResizeObserver(() => this.follow()).observe(this.box);
    this.drawn = new Map(); // entry → what stands on the screen of it
  }

  // Everything anew.
  show(entries) {
    this.log.replaceChildren();
    this.drawn.clear();
    entries.forEach((entry) => this.draw(entry));
    this.welcome.hidden = entries.length > 0;
  }

  draw(entry) {
    this.welcome.hidden = true;
    const drawn = this.drawn.get(entry) ?? this.add(entry);
    if (!entry.note) {
      this.drawYou(drawn, entry.you);
      this.drawFelt(drawn, entry.felt);
      this.drawReply(drawn, entry.reply);
      this.drawMeta(drawn, entry);
    }
    this.follow();
  }

  add(entry) {
    const article = entry.note ? saying(element("p", "aside"), entry.note) : element("article", "turn");
    const drawn = { article, you: null, felt: null, reply: null, meta: null };
    this.drawn.set(entry, drawn);
    this.log.append(article);
    return drawn;
  }

  // What the conversation no longer keeps.
  forget(entry) {
    this.drawn.get(entry)?.article.remove();
    this.drawn.delete(entry);
    this.welcome.hidden = this.drawn.size > 0;
  }

  drawYou(drawn, you) {
    if (!you) return;
    drawn.you ??= this.line(drawn, "you");
    const text = you.text || "…"; // answered by ear: the words are still to come
    if (drawn.you.words.textContent !== text) drawn.you.words.textContent = text;
    drawn.you.words.lang = you.language ?? "";
    drawn.you.line.classList.toggle("partial", !you.final);
  }

  // A word beside what was said; it opens to what it rests on.
  drawFelt(drawn, felt) {
    const key = felt && felt.label !== "neutral" && felt.confidence >= SURE ? JSON.stringify(felt) : "";
    if (!drawn.you || (drawn.felt?.key ?? "") === key) return;
    drawn.felt?.row.remove();
    drawn.felt = key ? { key, row: feeling(felt) } : null;
    if (key) drawn.you.line.append(drawn.felt.row);
  }

  drawReply(drawn, reply) {
    if (drawn.reply && (!reply || reply.ends.length < drawn.reply.spans.length)) {
      drawn.reply.line.remove();
      drawn.reply = null;
    }
    if (!reply?.text) return;
    drawn.reply ??= { ...this.line(drawn, "reply"), spans: [], lit: 0 };
    this.write(drawn.reply, reply);
    this.light(drawn.reply, reply);
    if (reply.cut) drawn.reply.spans.forEach((span) => span.classList.toggle("unheard", !span.classList.contains("heard")));
  }

  write({ spans, words }, { text, ends }) {
    while (spans.length < ends.length) {
      const from = ends[spans.length - 1] ?? 0;
      spans.push(element("span", "word", text.slice(from, ends[spans.length])));
      words.append(spans.at(-1));
    }
  }

  // While it is spoken a word is lit with its first sound; of a reply that was cut, only words that were said to their end.
  light(drawn, { text, ends, lit, cut }) {
    const reached = (i) => (cut ? text.slice(0, ends[i]).trimEnd().length <= lit : (ends[i - 1] ?? 0) < lit);
    while (drawn.lit < drawn.spans.length && reached(drawn.lit)) drawn.spans[drawn.lit++].classList.add("heard");
    while (drawn.lit > 0 && !reached(drawn.lit - 1)) drawn.spans[--drawn.lit].classList.remove("heard");
  }

  drawMeta(drawn, { you, reply, latency }) {
    const facts = [
      you?.final && you.language && languageName(you.language),
      reply?.speaker,
      reply?.tone && reply.tone !== "neutral" && !reply.unmet && toneName(reply.tone),
      reply?.cut && say("interrupted"),
    ].filter(Boolean);
    const passed = reply ? [...together(reply.passed), reply.unmet].filter(Boolean) : [];
    const key = JSON.stringify([facts, passed, latency]);
    if (drawn.meta?.key === key) return;
    const open = drawn.meta?.row.open;
    drawn.meta?.row.remove();
    drawn.meta = null;
    if (!latency && !(facts.length && reply)) return;
    drawn.meta = { key, row: waterfall(latency, facts, passed) };
    if (open) drawn.meta.row.open = true;
    drawn.article.append(drawn.meta.row);
  }

  line(drawn, kind) {
    const line = element("p", `said ${kind}`);
    const words = element("span", "words");
    words.dir = "auto";
    line.append(saying(element("span", "who"), kind === "you" ? "you" : "it"), words);
    drawn.article.insertBefore(line, kind === "you" ? drawn.article.firstChild : (drawn.meta?.row ?? null));
    return { line, words };
  }

  // Keeps the newest line in sight, unless the reader has scrolled up.
  follow() {
    if (this.atEnd) this.box.scrollTop = this.box.scrollHeight;
  }
}

function feeling({ label, intensity, confidence, evidence }) {
  const row = element("details", `felt ${label}`);
  const name = element("summary", "", toneName(label));
  const why = [...evidence.map(translated), say("felt_sure", { share: `${number(100 * confidence, 0)} %` })];
  row.style.setProperty("--strength", Math.min(1, 0.35 + intensity / 2).toFixed(2));
  row.title = why.join("\n");
  row.append(name, ...why.map((line) => element("p", "", line)));
  return row;
}

// The server's evidence begins with what it is of, in English.
function translated(line) {
  return line.replace(/^(words|sound)(?=: )|^earlier turns$/, (of) => say({ words: "felt_words", sound: "felt_sound" }[of] ?? "felt_before"));
}

function toneName(tone) {
  return knows(`emotion_${tone}`) ? say(`emotion_${tone}`) : tone;
}

// Voices that do not speak for the same reason are named in one line.
function together(passed) {
  const reasons = [...new Set(passed.map(({ reason }) => reason))];
  const of = (reason) => passed.filter((voice) => voice.reason === reason).map(({ speaker }) => speaker).join(", ");
  return reasons.map((reason) => say("passed_over", { speaker: of(reason), reason }));
}
