// Puts the page together: what the server says goes to the script and the loudspeaker, what the reader does to the server.

import { Connection } from "./connection.js";
import { Meter, loudness } from "./meter.js";
import { Notices } from "./notices.js";
import { Script } from "./script.js";
import { Settings } from "./settings.js";
import { Sound } from "./sound.js";
import { seconds } from "./waterfall.js";

const CURSOR_MS = 100; // of the reply's sound between two cursors: what the protocol asks for
const STATES = {
  connecting: "Connecting …",
  idle: "Press and talk",
  listening: "Listening",
  hearing: "Hearing you",
  thinking: "Thinking",
  speaking: "Speaking",
};

const TASKS = {
  vad: "voice activity",
  turn_detector: "end of turn",
  recognizer: "recognition",
  writer: "language model",
  speakers: "voices",
};

const $ = (id) => document.getElementById(id);
const yourMeter = new Meter($("your-level"), "--you", -1);
const replyMeter = new Meter($("reply-level"), "--reply", 1);
const notices = new Notices($("notice"));
const script = new Script($("script"), $("welcome"));
const settings = new Settings($("settings"), (changed) => connection.send({ type: "settings", settings: changed }));
const session = { floor: "connecting", turn: -1, heard: 0, cursor: 0, engines: {}, latencies: [], speakers: new Set() };

// ── Sound ──

const sound = new Sound({
  frame(pcm, level) {
    connection.sendSound(pcm);
    yourMeter.push(level);
    if (session.floor !== "speaking") halo(level);
  },
  played({ turn, ms, playing, level }) {
    replyMeter.push(level);
    if (session.floor === "speaking") halo(level);
    if (turn !== session.turn) return;
    script.played(turn, ms);
    session.heard = ms;
    if (!playing || ms >= session.cursor + CURSOR_MS) sendCursor(turn, ms);
  },
  suspended(is) {
    if (is) notices.show("suspended", "", { label: "Go on", run: () => sound.unlock() });
    else notices.hide("suspended");
  },
  lost() {
    notices.show("microphone_lost");
    render();
  },
  full: () => notices.show("full"),
});

function sendCursor(turn, ms) {
  if (turn < 0) return; // no reply yet
  session.cursor = ms;
  connection.send({ type: "cursor", turn, played_ms: ms });
}

function halo(level) {
  document.body.style.setProperty("--level", loudness(level).toFixed(2));
}

// ── What the server says ──

const told = {
  ready(message) {
    if (!script.empty) script.note("A new session: it does not remember what stands above");
    script.forget();
    sound.forget();
    session.engines = message.engines;
    settings.show(message.settings);
    notices.hide("lost", "idle_timeout", "server_full", "not_ready");
    floor("listening");
  },
  settings: (message) => settings.show(message.settings),
  state: (message) => floor(message.state),
  user_speech() {},
  transcript({ turn, text, is_final, language }) {
    script.user(turn, text, is_final, language);
    if (is_final) $("spoken").textContent = `You: ${text}`;
  },
  reopened({ turn }) {
    sound.forget();
    session.turn = -1;
    script.reopened(turn);
  },
  text_chunk({ turn, text, has_audio }) {
    if (text) script.word(turn, text, has_audio);
  },
  audio_chunk({ turn, words, is_final }, pcm) {
    if (turn !== session.turn) Object.assign(session, { turn, heard: 0, cursor: 0 });
    script.timed(turn, words);
    sound.play(turn, pcm, is_final);
  },
  ducked: () => sound.hold(),
  resumed: () => sound.resume(),
  interrupted({ turn, heard_text }) {
    sound.drop(turn);
    script.interrupted(turn, heard_text);
  },
  reply_done({ turn, speaker }) {
    session.speakers.add(speaker);
    script.done(turn);
  },
  latency({ turn, marks, parts }) {
    session.latencies.push(marks.voice_to_voice);
    script.latency(turn, marks.voice_to_voice, parts);
  },
  conversation: (message) => save(message.conversation),
  error({ code, message }) {
    if (code === "idle_timeout") rest();
    else notices.showError({ code, message });
  },
};

const connection = new Connection(
  { input_rate: sound.rate, output_rate: sound.rate },
  {
    message: (message, pcm) => told[message.type]?.(message, pcm),
    lost(pause) {
      sound.forget();
      floor("connecting");
      const refused = !$("notice").hidden && ["server_full", "not_ready"].includes(notices.code);
      const again = `Trying again in ${pause} s.`;
      if (!refused) notices.show("lost", again, { label: "Try now", run: () => connection.open() });
    },
  },
);

// ── What the reader does ──

// The server has closed a session that nobody used; it opens another one when it is asked to.
function rest() {
  connection.rest();
  sound.stop();
  floor("connecting");
  notices.show("idle_timeout", "", { label: "Go on", run: () => connection.open() });
}

async function attempt(deed) {
  notices.hide(notices.code);
  try {
    await deed();
  } catch (error) {
    notices.showError(error);
  }
  render();
}

function talk() {
  if (sound.busy) sound.stop();
  else attempt(() => sound.listen());
  render();
}

function type(text) {
  attempt(() => sound.unlock());
  connection.send({ type: "text", text });
}

function speakFile(file) {
  if (!file) return;
  const spoken = attempt(() => sound.speak(file, render));
  spoken.finally(() => ($("file").value = ""));
}

// The sound stops at once, without a way to the server and back.
function interrupt() {
  sendCursor(session.turn, session.heard);
  sound.drop(session.turn);
  connection.send({ type: "interrupt" });
}

function clear() {
  if (!script.empty && !confirm("Forget this conversation?")) return;
  interrupt();
  connection.send({ type: "clear" });
  script.clear();
  session.latencies = [];
}

function save(conversation) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(conversation, null, 2)], { type: "application/json" }));
  link.download = `duologue-${new Date().toISOString().slice(0, 16).replace(":", "")}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// ── What the page shows ──

function floor(state) {
  session.floor = state;
  if (state === "listening" || state === "thinking") halo(0);
  render();
}

function render() {
  const state = session.floor === "listening" && !sound.busy ? "idle" : session.floor;
  const online = session.floor !== "connecting";
  document.body.dataset.state = state;
  if ($("state").textContent !== STATES[state]) $("state").textContent = STATES[state];
  $("talk").disabled = !online;
  $("talk").ariaPressed = String(sound.busy);
  $("talk-label").textContent = sound.busy ? "Stop the microphone" : "Start talking";
  $("interrupt").hidden = state !== "thinking" && state !== "speaking";
  $("send").disabled = !online || !$("text").value.trim();
}

function facts() {
  const sorted = [...session.latencies].sort((a, b) => a - b);
  const median = sorted.length ? seconds(sorted[sorted.length >> 1]) : "no answer yet";
  return [
    ...Object.entries(session.engines).map(([task, name]) => [TASKS[task] ?? task, String(name).replaceAll(",", ", ")]),
    ["answer begins after (median)", median],
    ["sound ran dry", `${sound.underruns} times`],
    ["sample rate", `${sound.rate} Hz`],
  ];
}

$("talk").onclick = talk;
$("interrupt").onclick = interrupt;
$("clear").onclick = clear;
$("export").onclick = () => connection.send({ type: "export" });
$("open-settings").onclick = () => settings.open(facts());
$("text").oninput = render;
$("file").onchange = ({ target }) => speakFile(target.files[0]);
$("suggestions").onclick = ({ target }) => target.tagName === "BUTTON" && type(target.textContent);
$("typed").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !connection.up) return;
  $("text").value = "";
  type(text);
  render();
};

document.addEventListener("keydown", (event) => {
  if ($("settings").open || event.repeat) return;
  if (event.key === "Escape" && !$("interrupt").hidden) interrupt();
  if (event.key !== " " || event.target.closest("input, button, summary, label, a") || $("talk").disabled) return;
  event.preventDefault();
  talk();
});

const dropping = (is) => document.body.classList.toggle("dropping", is);
document.addEventListener("dragover", (event) => (event.preventDefault(), dropping(true)));
document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || dropping(false));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  dropping(false);
  speakFile(event.dataTransfer.files[0]);
});

// What the browser tests read; the page itself does not.
window.duologue = { sound, session, connection };
