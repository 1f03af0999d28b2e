// Puts the page together: what the server says goes to the conversation and the loudspeaker, what the reader does to the server.

import { stayAwake } from "./awake.js";
import { Connection } from "./connection.js";
import { bindControls } from "./controls.js";
import { Conversation } from "./conversation.js";
import { copy, download } from "./export.js";
import { Insights } from "./insights.js";
import { preferred, say, useLanguage } from "./language.js";
import { Memory } from "./memory.js";
import { Meter, loudness } from "./meter.js";
import { obstacle, onDevices, PROCESSING } from "./microphone.js";
import { Notices } from "./notices.js";
import { Playout } from "./playout.js";
import { Script } from "./script.js";
import { Settings } from "./settings.js";
import { REPLY_RATE, Sound, WIRE_RATE } from "./sound.js";
import { Talk } from "./talk.js";
import { Tape } from "./tape.js";

const KEEP_MS = 500; // between two writings of the conversation to the browser's memory
const RESTING = ["idle_timeout", "session_expired"]; // ends of a session after which no other is opened unasked
const ABOUT_TURNS = ["transcript", "emotion", "text_chunk", "audio_chunk", "voice", "latency"]; // what would bring a turn back
const KEY_WANTED = ["missing_api_key", "invalid_api_key"];

const $ = (id) => document.getElementById(id);
const memory = new Memory();
const { preferences } = memory;
await useLanguage(preferred(preferences.interface)).catch(() => {}); // where it cannot be fetched the page stays English
if (!(await memory.claim(memory.session.token))) memory.session = {};

// Who has the floor, as the server says; whether the microphone is known to be on; what stands in its way; how a page that rests
// goes on: {label, run}.
const now = { floor: "connecting", listening: undefined, obstacle: "", onward: null };
const session = { name: "", engines: {}, voices: [], profile: "", defaults: memory.session.defaults ?? {} };

const yourMeter = new Meter($("your-level"), "--you", -1);
const replyMeter = new Meter($("reply-level"), "--reply", 1);
const ring = document.querySelector("#talk .halo");
const notices = new Notices($("notice"));
const tape = new Tape(REPLY_RATE);
const script = new Script($("script"), $("welcome"));
const conversation = new Conversation(
  (entry, gone) => {
    if (gone) script.forget(entry);
    else if (entry) script.draw(entry);
    else script.show(conversation.entries);
    keepSoon();
  },
  memory.session.entries,
  memory.session.name,
);

// ── Sound ──

const sound = new Sound({
  frame({ pcm, level, replyLevel, onset }) {
    yourMeter.push(level);
    replyMeter.push(replyLevel);
    halo(now.floor === "speaking" ? replyLevel : level);
    playout.frame(pcm, onset);
  },
  both: (pcm) => tape.add(pcm),
  played: (report) => playout.played(report),
  suspended: showSuspended,
  lost() {
    notices.show("microphone_lost");
    talk.settle();
  },
  full: () => notices.show("full"),
});

const talk = new Talk(sound, () => preferences, {
  starting: () => notices.hide(notices.code),
  taking: takeFloor,
  ended: () => connection.send({ type: "end_turn" }),
  failed: (error) => notices.showError(error),
  changed: render,
});

// On the ring itself: what is set on the body is reckoned anew for every word of the conversation, 30 times a second.
function halo(level) {
  ring.style.setProperty("--level", loudness(level).toFixed(2));
}

function showSuspended(is) {
  if (is) notices.show("suspended", { act: { label: say("go_on"), run: () => sound.unlock() } });
  else notices.hide("suspended");
}

// ── What the server says ──

const told = {
  ready(message) {
    const { session: name, engines, voices = [], profile = "" } = message;
    Object.assign(session, { name, engines, voices, profile });
    playout.startSession();
    if (message.resume) memory.claim(message.resume);
    if (message.resumed !== true) beginSession(message);
    memory.keep({ token: message.resume ?? "", name: conversation.session, defaults: session.defaults });
    settings.show(message.settings);
    settings.showEngines(engines);
    settings.showVoices(message.voices);
    sendWishes(message.settings);
    notices.hide("lost", "server_full", "not_ready", "cross_origin", "taken_over", ...RESTING, ...KEY_WANTED);
    floor("listening");
    announce("connected");
  },
  settings: (message) => settings.show(message.settings),
  state: ({ state }) => floor(state),
  user_speech({ event, at_ms }) {
    if (event === "speech_stopped") playout.voiceEnded = at_ms;
  },
  transcript(message) {
    conversation.transcript(message);
    if (message.is_final) announce("heard_you", { text: message.text });
  },
  emotion: (message) => conversation.felt(message),
  turn_dropped: (message) => conversation.dropped(message),
  reopened(message) {
    playout.forget();
    conversation.reopened(message);
  },
  text_chunk: (message) => conversation.textChunk(message),
  audio_chunk(message, pcm) {
    playout.take(message, pcm);
    if (sound.able && sound.context.state !== "running" && notices.code !== "suspended") showSuspended(true);
  },
  voice: (message) => conversation.voice(message),
  playback: ({ turn, playing }) => playing && playout.sounds(turn),
  ducked: () => playout.hold(),
  resumed: () => playout.resume(),
  interrupted(message) {
    playout.silence(message.turn);
    conversation.interrupted(message);
  },
  reply_done(message) {
    playout.done(message.turn);
    conversation.done(message);
  },
  latency(message) {
    conversation.latency(message);
    playout.noteLatency();
    insights.refresh();
  },
  conversation: (message) => download(JSON.stringify(message.conversation, null, 2), "application/json", "json"),
  error({ code, message, turn }) {
    if (turn !== null && turn !== undefined) conversation.failed(turn);
    if (code === "unknown_voice") memory.prefer({ settings: { ...preferences.settings, voice: "" } });
    if (KEY_WANTED.includes(code)) askForKey(code);
    else if (RESTING.includes(code)) rest(code);
    else notices.showError({ code, message });
  },
};

// The server does not know the conversation that stands here: it is told of it, if it can be.
function beginSession(message) {
  session.defaults = message.settings;
  if (message.resume && !conversation.empty) {
    const { turns, unheard } = conversation.handOver();
    if (unheard) conversation.note("goes_on");
    if (turns.length) connection.send({ type: "restore", turns, unheard });
  } else if (!conversation.empty) {
    conversation.cut(conversation.speaking?.turn);
    conversation.note("new_session");
  }
  conversation.begin(message.session);
}

// What the reader chose on another day, and while the connection was lost.
function sendWishes(inForce) {
  const wanted = { ...inForce, ...session.defaults, ...preferences.settings };
  for (const name of settings.names.filter((known) => known in inForce && wanted[known] !== inForce[known])) {
    connection.send({ type: "settings", settings: { [name]: wanted[name] } });
  }
}

const connection = new Connection(
  () => preferences,
  (road) => {
    const rates = road === "ws" ? { input_rate: WIRE_RATE, output_rate: REPLY_RATE } : {};
    const { token } = memory.session;
    playout.forget(); // what was not heard comes again; a new session counts its turns anew
    if (!token) return rates;
    const { turn, ms } = conversation.speaking ?? {};
    return { ...rates, resume: token, ...(turn >= 0 && { turn, played_ms: ms }) };
  },
  () => sound.upstream,
  {
    message(message, pcm) {
      if (message.turn > conversation.forgotten || !ABOUT_TURNS.includes(message.type)) told[message.type]?.(message, pcm);
    },
    lost,
    track: (stream) => sound.playTrack(stream),
    takenOver: () => rest("taken_over"),
    fallback(code) {
      if (code === "rtc_blocked") notices.show(code, { quiet: true });
      if (code === "cross_origin") notices.show(code);
    },
  },
);

const playout = new Playout(sound, conversation, connection);

function lost(pause) {
  playout.alive = false;
  floor("connecting");
  if (["server_full", "not_ready", "cross_origin"].includes(notices.shown)) return;
  notices.show("lost", { values: { pause }, act: { label: say("try_now"), run: connectAgain } });
}

function connectAgain() {
  floor("connecting");
  connection.again();
}

// The server has closed a session that nobody used; it opens another one when it is asked to. The button stays a way on when
// the notice is gone.
function rest(code, onward = { label: "go_on", run: connectAgain }) {
  connection.rest();
  talk.stop();
  now.onward = onward;
  floor("resting");
  notices.show(code, { act: { label: say(onward.label), run: onward.run } });
}

function askForKey(code) {
  rest(code, { label: "enter_key", run: () => settings.open("key") });
}

// ── What the reader does ──

function interrupt() {
  playout.interrupt();
  connection.send({ type: "interrupt" });
}

function takeFloor() {
  if (["thinking", "speaking"].includes(now.floor)) interrupt();
}

function type(text) {
  if (!connection.up) return false;
  notices.hide(notices.code);
  sound.unlock().catch((error) => notices.showError(error));
  connection.send({ type: "text", text });
  return true;
}

function speakFile(file) {
  if (!file || !connection.up) return;
  notices.hide(notices.code);
  sound.speak(file, render).catch((error) => notices.showError(error)).finally(render);
}

function clear() {
  if (!conversation.empty && !confirm(say("clear_sure"))) return;
  interrupt();
  if (!connection.send({ type: "clear" })) leaveSession();
  conversation.clear();
  tape.clear();
}

// The server cannot be told: its session is left behind, and what it remembers with it.
function leaveSession() {
  memory.keep({ token: "" });
  if (now.floor !== "resting") connection.again();
}

const saving = {
  copy: () => copy(conversation.asText(say("you"), say("it"))).then(() => notices.show("copied", { quiet: true })),
  text: () => download(conversation.asText(say("you"), say("it")), "text/plain", "txt"),
  json: () => connection.send({ type: "export" }),
  wav: () => download(tape.wav(), "audio/wav", "wav"),
};

const settings = new Settings($("settings"), preferences, {
  server(changed) {
    memory.prefer({ settings: { ...preferences.settings, ...changed } });
    connection.send({ type: "settings", settings: changed });
  },
  page(changed) {
    memory.prefer(changed);
    if ("interface" in changed) useLanguage(preferred(changed.interface)).then(redress);
    if ("speaker" in changed) sound.speaker(changed.speaker).catch((error) => notices.showError(error));
    if ("road" in changed || "key" in changed) connectAgain();
    if ("mode" in changed) talk.settle();
    if (["microphone", ...PROCESSING].some((name) => name in changed)) talk.exchange();
  },
  reset() {
    const changed = Object.keys(preferences.settings ?? {}).filter((name) => name in session.defaults);
    memory.prefer({ settings: {} });
    connection.send({ type: "settings", settings: Object.fromEntries(changed.map((name) => [name, session.defaults[name]])) });
  },
});

// ── What the page shows ──

function floor(state) {
  now.floor = state;
  if (state === "listening" || state === "thinking") halo(0);
  render();
}

function shownState() {
  if (talk.asking) return "asking";
  if (now.floor !== "listening") return now.floor;
  if (!sound.busy || (talk.holding && !talk.held && !sound.sources.has("file"))) return talk.holding ? "ready" : "idle";
  return talk.muted && !sound.sources.has("file") ? "muted" : "listening";
}

function render() {
  const state = shownState();
  const resting = now.floor === "resting";
  const online = now.floor !== "connecting" && !resting;
  const on = talk.holding ? talk.held : sound.busy;
  document.body.dataset.state = state;
  document.body.dataset.on = String(on);
  $("state").textContent = say(`state_${state}`);
  $("talk").disabled = !online && !resting;
  $("talk").ariaPressed = String(on);
  $("talk-label").textContent = say(resting ? now.onward.label : talk.holding ? "hold" : on ? "stop" : "talk");
  $("mute").hidden = !sound.listening || talk.holding;
  $("mute").ariaPressed = String(talk.muted);
  $("mute-label").textContent = say(talk.muted ? "unmute" : "mute");
  $("interrupt").hidden = now.floor !== "thinking" && now.floor !== "speaking";
  $("saving").querySelector("[value=json]").disabled = !online; // the server writes it
  $("send").disabled = !online || !$("text").value.trim();
  $("welcome-how").textContent = welcome();
  sayMicrophone();
}

function welcome() {
  if (now.obstacle === "insecure") return `${say("insecure")} ${say("insecure_do", { still: say("still") })}`;
  if (now.obstacle) return say(`welcome_${now.obstacle}`);
  return say(talk.holding ? "welcome_hold" : "welcome_how");
}

// Also when a microphone is plugged in or pulled out.
async function lookAround() {
  now.obstacle = await obstacle();
  render();
  if ($("settings").open) settings.listDevices();
}

function sayMicrophone() {
  if (now.listening === sound.listening) return;
  if (now.listening !== undefined) announce(sound.listening ? "microphone_on" : "microphone_off");
  now.listening = sound.listening;
  stayAwake(sound.listening);
}

// Said to a screen reader, in its own time.
function announce(key, values) {
  $("spoken").textContent = say(key, values);
}

function redress() {
  settings.showVoices(session.voices);
  script.show(conversation.entries);
  render();
  insights.refresh();
}

const insights = new Insights($("insights"), $("open-insights"), async () => {
  const statistics = await connection.statistics();
  if (Number.isFinite(statistics.delay_ms)) playout.clock.delay = statistics.delay_ms;
  const { underruns, buffer_ms, rate } = sound;
  return { latencies: conversation.latencies, road: connection.name, why: connection.why, underruns, buffer_ms, rate, statistics };
});

function inUse() {
  const engines = Object.entries(session.engines).map(([task, name]) => [`task_${task}`, String(name).replaceAll(",", ", ")]);
  const able = settings.abilities(session.voices);
  return [["profile", session.profile], ...engines, ...able, ["session", session.name]].filter(([, text]) => text);
}

// ── Kept, and begun ──

let keeping = 0;

function keepSoon() {
  keeping ||= setTimeout(keepNow, KEEP_MS);
}

function keepNow() {
  clearTimeout(keeping);
  keeping = 0;
  memory.keep({ entries: conversation.entries });
}

window.addEventListener("pagehide", keepNow);
window.addEventListener("online", () => connection.hurry());
document.addEventListener("visibilitychange", () => document.hidden || connection.hurry());

bindControls({
  toggle() {
    if (now.floor === "resting") return now.onward.run();
    if (sound.busy) takeFloor();
    return talk.toggle();
  },
  press: () => (now.floor === "resting" ? now.onward.run() : talk.press()),
  release: () => talk.release(),
  holding: () => talk.holding,
  mute: () => talk.mute(),
  interrupt,
  type,
  file: speakFile,
  clear,
  openSettings() {
    settings.showInUse(inUse());
    settings.open();
  },
  save: (as) => saving[as](),
  changed: render,
});
if (!conversation.empty) script.show(conversation.entries);
$("settings").querySelector("[name=speaker]").dataset.never = String(!sound.choosesSpeaker);
if (preferences.speaker) sound.speaker(preferences.speaker).catch(() => {});
render();
lookAround();
onDevices(lookAround);
connection.open();

// What the browser tests read; the page itself does not.
window.duologue = { sound, session, connection, conversation, playout, tape };
