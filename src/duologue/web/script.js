// The conversation on the screen, as a play's script: who said what, and how much of it was heard.
// Told of facts by app.js; knows no socket and no sound. Times are ms of a reply's own sound.

import { element } from "./element.js";
import { waterfall } from "./waterfall.js";

export class Script {
  constructor(log, welcome) {
    this.log = log;
    this.welcome = welcome;
    this.box = log.parentElement;
    this.atEnd = true; // of what there is to read
    this.box.onscroll = () => (this.atEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 80);
    new ResizeObserver(() => this.follow()).observe(this.box);
    this.turns = new Map(); // turn number → {element, you, reply}; of the present session only
  }

  user(turn, text, final, language) {
    const { you } = this.turn(turn);
    const line = (you.line ??= this.say(turn, "you", "You"));
    line.words.textContent = text;
    line.words.lang = language;
    line.element.classList.toggle("partial", !final);
    this.follow();
  }

  word(turn, text, hasAudio) {
    const reply = this.reply(turn);
    const span = element("span", hasAudio ? "word" : "word heard", text);
    reply.line.words.append(span);
    const from = reply.written;
    reply.written += text.length;
    reply.spans.push({ span, from, to: from + text.trimEnd().length });
    this.follow();
  }

  // Words of the sound that has arrived, with their end; they split the same text, perhaps in other places.
  timed(turn, words) {
    const reply = this.reply(turn);
    for (const { text, end_ms } of words) {
      reply.spoken += text.length;
      reply.times.push({ to: reply.spoken, end_ms });
    }
  }

  // A word is lit from its first sound on: it starts where the one before it ends.
  played(turn, ms) {
    const reply = this.turns.get(turn)?.reply;
    if (!reply || reply.closed || !ms) return;
    const word = reply.times.find(({ end_ms }) => end_ms > ms) ?? reply.times.at(-1);
    this.light(reply, word?.to ?? 0);
  }

  light(reply, to) {
    while (reply.lit < reply.spans.length && reply.spans[reply.lit].from < to) {
      reply.spans[reply.lit++].span.classList.add("heard");
    }
  }

  done(turn) {
    const reply = this.turns.get(turn)?.reply;
    if (!reply || reply.closed) return;
    this.light(reply, Infinity);
    reply.closed = true;
  }

  interrupted(turn, heardText) {
    const reply = this.turns.get(turn)?.reply;
    if (!reply) return;
    reply.closed = true;
    const heard = heardText.trimEnd().length;
    for (const { span, to } of reply.spans) {
      span.classList.toggle("heard", to <= heard);
      span.classList.toggle("unheard", to > heard);
    }
  }

  reopened(turn) {
    const known = this.turns.get(turn);
    if (!known) return;
    known.reply?.line.element.remove();
    known.reply = undefined;
    known.element.querySelector(".latency")?.remove();
    known.you.line?.element.classList.add("partial");
  }

  latency(turn, total, parts) {
    this.turn(turn).element.append(waterfall(total, parts));
    this.follow();
  }

  note(text) {
    this.log.append(element("p", "aside", text));
    this.follow();
  }

  clear() {
    this.log.replaceChildren();
    this.forget();
    this.welcome.hidden = false;
  }

  // Turn numbers of a new session mean other turns: what stands stays as it is.
  forget() {
    this.turns.clear();
  }

  get empty() {
    return !this.log.childElementCount;
  }

  turn(number) {
    if (!this.turns.has(number)) {
      this.welcome.hidden = true;
      const article = element("article", "turn");
      this.log.append(article);
      this.turns.set(number, { element: article, you: {} });
    }
    return this.turns.get(number);
  }

  reply(turn) {
    const known = this.turn(turn);
    return (known.reply ??= {
      line: this.say(turn, "reply", "Duologue"),
      spans: [], // one for each word: {span, from, to} in characters of the reply
      times: [], // {to, end_ms}
      written: 0, // characters
      spoken: 0, // characters that have a time
      lit: 0, // spans
      closed: false,
    });
  }

  say(turn, kind, who) {
    const line = element("p", `said ${kind}`);
    const words = element("span", "words");
    words.dir = "auto";
    line.append(element("span", "who", who), words);
    const latency = this.turn(turn).element.querySelector(".latency");
    this.turn(turn).element.insertBefore(line, latency);
    return { element: line, words };
  }

  // Keeps the newest line in sight, unless the reader has scrolled up.
  follow() {
    if (this.atEnd) this.box.scrollTop = this.box.scrollHeight;
  }
}
