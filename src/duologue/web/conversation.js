// What was said, by whom, and how much of it was heard: plain data that can be kept, shown and exported.
// Made from the server's messages. Knows no screen, no sound and no socket. Times are ms of a reply's own sound.
//
// An entry is a turn: {session, turn, you, felt, reply, latency}, or a remark of the page's own: {note: its code}.
//   you    {text, final, language}
//   felt   {label, intensity, confidence, evidence}
//   reply  {text, ends: where each word ends, times: [{to, end_ms}], lit, ms, at, chunks, over, cut, speaker, passed, tone, unmet}
//          `ends`, `to` and `lit` count characters of `text`; the server's word times split it in places of their own

const KEPT = 200; // entries

export class Conversation {
  // `changed(entry)` after every change; without an entry: everything is different. `changed(entry, true)`: it is gone.
  constructor(changed, entries = [], session = "") {
    this.changed = changed;
    this.entries = entries;
    this.begin(session);
  }

  // Turn numbers count within a session. Of turns up to `forgotten` nothing is wanted any more, though it may still come.
  begin(session) {
    Object.assign(this, { session, forgotten: -1 });
  }

  get empty() {
    return !this.entries.length;
  }

  entry(turn) {
    const known = this.entries.findLast((entry) => entry.turn === turn && entry.session === this.session);
    if (known) return known;
    const made = { session: this.session, turn, you: null, felt: null, reply: null, latency: null };
    this.add(made);
    return made;
  }

  find(turn) {
    return this.entries.findLast((entry) => entry.turn === turn && entry.session === this.session);
  }

  note(code) {
    const made = { note: code };
    this.add(made);
    this.changed(made);
  }

  add(entry) {
    this.entries.push(entry);
    const over = Math.max(0, this.entries.length - KEPT);
    for (const oldest of this.entries.splice(0, over)) this.changed(oldest, true);
  }

  // Who is speaking just now is listened to.
  clear() {
    const answered = this.entries.filter((entry) => entry.session === this.session && (entry.reply || entry.you?.final));
    this.forgotten = Math.max(this.forgotten, ...answered.map(({ turn }) => turn));
    this.entries.length = 0;
    this.changed();
  }

  // ── The user ──

  transcript({ turn, text, is_final, language }) {
    const entry = this.entry(turn);
    entry.you = { text, final: is_final, language };
    this.changed(entry);
  }

  felt({ turn, label, intensity, confidence, evidence }) {
    const entry = this.entry(turn);
    entry.felt = { label, intensity, confidence, evidence };
    this.changed(entry);
  }

  // It was no turn, but noise: what was understood of it goes.
  dropped({ turn }) {
    const entry = this.find(turn);
    if (!entry?.you || entry.you.final) return;
    this.entries.splice(this.entries.indexOf(entry), 1);
    this.changed(entry, true);
  }

  // The turn's words stay, though no answer comes.
  failed(turn) {
    const entry = this.find(turn);
    if (!entry) return;
    if (entry.you) entry.you.final = true;
    this.cut(turn);
    this.changed(entry);
  }

  reopened({ turn }) {
    const entry = this.find(turn);
    if (!entry) return;
    Object.assign(entry, { felt: null, reply: null, latency: null });
    if (entry.you) entry.you.final = false;
    this.changed(entry);
  }

  // ── The reply ──

  reply(turn) {
    const entry = this.entry(turn);
    entry.reply ??= { text: "", ends: [], times: [], lit: 0, ms: 0, at: -1, chunks: 0, over: false, cut: false, speaker: "", passed: [], tone: "", unmet: "" };
    return entry.reply;
  }

  // After a lost connection some chunks come again.
  textChunk({ turn, chunk_index, text, has_audio }) {
    const reply = this.reply(turn);
    if (chunk_index < reply.chunks) return;
    reply.chunks = chunk_index + 1;
    if (!text) return;
    if (!has_audio && reply.lit === reply.text.length) reply.lit += text.length;
    reply.text += text;
    reply.ends.push(reply.text.length);
    this.changed(this.entry(turn));
  }

  audioChunk({ turn, at_ms, words }) {
    const reply = this.reply(turn);
    const known = at_ms > reply.at ? -1 : (reply.times.at(-1)?.end_ms ?? -1);
    reply.at = Math.max(reply.at, at_ms);
    for (const { text, end_ms } of words.filter((word) => word.end_ms > known)) {
      reply.times.push({ to: (reply.times.at(-1)?.to ?? 0) + text.length, end_ms });
    }
  }

  // A word is lit from its first sound on: it starts where the one before it ends.
  played(turn, ms) {
    const reply = this.find(turn)?.reply;
    if (!reply || reply.over || !ms) return;
    reply.ms = ms;
    const now = reply.times.find(({ end_ms }) => end_ms > ms) ?? reply.times.at(-1);
    this.light(turn, reply, now?.to ?? 0);
  }

  light(turn, reply, to) {
    if (to <= reply.lit) return;
    reply.lit = Math.min(to, reply.text.length);
    this.changed(this.entry(turn));
  }

  // Who speaks, in which tone, and which better voices do not: [{speaker, reason}].
  voice({ turn, speaker, passed_over, emotion, unmet }) {
    Object.assign(this.reply(turn), { speaker, passed: passed_over ?? [], tone: emotion ?? "", unmet: unmet ?? "" });
    this.changed(this.entry(turn));
  }

  done({ turn, speaker }) {
    const entry = this.find(turn);
    if (!entry?.reply) return;
    entry.reply.speaker = speaker;
    if (!entry.reply.over) Object.assign(entry.reply, { lit: entry.reply.text.length, over: true, times: [] });
    this.changed(entry);
  }

  interrupted({ turn, heard_text }) {
    this.end(turn, heard_text.trimEnd().length);
  }

  // Stopped by the page itself: what was heard follows from where the sound was. The server's word on it comes later.
  cut(turn) {
    const reply = this.find(turn)?.reply;
    if (reply && !reply.over) this.end(turn, heard(reply).length);
  }

  end(turn, to) {
    const entry = this.find(turn);
    if (!entry?.reply) return;
    Object.assign(entry.reply, { lit: to, over: true, cut: true, times: [] });
    this.changed(entry);
  }

  latency({ turn, marks, parts }) {
    const entry = this.entry(turn);
    entry.latency = { total: marks.voice_to_voice, parts };
    this.changed(entry);
  }

  // The way from the server's sound to the ear adds to the turn's latency, once it is known.
  heardAfter(turn, ms) {
    const latency = this.find(turn)?.latency;
    if (!latency || latency.parts.way || ms < latency.total) return;
    latency.parts.way = ms - latency.total;
    latency.total = ms;
    this.changed(this.find(turn));
  }

  get latencies() {
    return this.entries.map((entry) => entry.latency).filter(Boolean);
  }

  // ── Going on after a loss ──

  // The reply that was being spoken: {turn, ms}, or undefined.
  get speaking() {
    const entry = this.entries.findLast(({ reply }) => reply);
    return entry?.reply.over === false ? { turn: entry.turn, ms: Math.round(entry.reply.ms) } : undefined;
  }

  // For a server that has forgotten: what was said and heard, and what of the last reply was not. That part goes from here:
  // it will be said, and written, anew.
  handOver() {
    const turns = [];
    for (const { you, reply } of this.entries) {
      if (you?.final && you.text) turns.push({ role: "user", content: you.text });
      const said = reply ? heard(reply) : "";
      if (said) turns.push({ role: "assistant", content: said });
    }
    return { turns: turns.slice(-100), unheard: this.takeUnheard() };
  }

  takeUnheard() {
    const entry = this.entries.findLast(({ reply }) => reply);
    if (!entry || entry.reply.over) return "";
    const said = heard(entry.reply);
    const unheard = entry.reply.text.slice(said.length).trim();
    const ends = [...entry.reply.ends.filter((end) => end < said.length), said.length];
    Object.assign(entry.reply, { text: said, ends, lit: said.length, over: true });
    this.changed(entry);
    return unheard;
  }

  // As people write a conversation down. `you` and `it` are the names of the two.
  asText(you, it) {
    const lines = [];
    for (const entry of this.entries) {
      if (entry.you?.text) lines.push(`${you}: ${entry.you.text}`);
      if (entry.reply?.text) lines.push(`${it}: ${heard(entry.reply).trim()}${entry.reply.cut ? " …" : ""}`);
    }
    return lines.join("\n");
  }
}

// The words whose last sample has been played.
export function heard(reply) {
  if (reply.over) return reply.text.slice(0, reply.lit);
  const to = reply.times.findLast(({ end_ms }) => end_ms <= reply.ms)?.to ?? 0;
  return reply.text.slice(0, to).trimEnd();
}
