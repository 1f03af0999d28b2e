// The conversation that every client in JavaScript here holds, and what of it is reported: flow.py, once more.
//
// A program tells its `Ear` what its client tells it. Sound is PCM16 mono at 24 kHz both ways, but what is heard of a call.
import { readFileSync } from "node:fs";

export const RATE = 24_000;
const BLOCK_S = 0.02;
const LIMIT_S = 100;

export const INSTRUCTIONS = "You answer questions by voice. Keep it short.";
const QUESTION = "What is the capital of France?";
const STORY = "Tell me a long story about a king, a castle and a dragon.";

// How much of the story has arrived when the user begins to speak into it.
const ARRIVED_S = 1.5;

// How much of it was played by then, where a program says so itself.
export const PLAYED_S = 1.0;

const WEATHER_QUESTION = "What is the weather in Paris?";
export const WEATHER = "It is sunny in Paris, 21 degrees.";
export const TOOL = "get_weather";
export const PURPOSE = "The weather in a city.";

// Such as http://127.0.0.1:8080/v1
export const baseUrl = process.argv[2];
export const websocketUrl = `${baseUrl.replace("http", "ws")}/realtime`;

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// For whoever has to find out why it failed.
export function note(...what) {
  process.stderr.write(`${performance.now().toFixed(0).padStart(7)} ${what.join(" ")}\n`);
}

class Sound {
  seconds = 0;
  #samples = 0;
  #energy = 0;

  // Int16Array, mono
  add(samples, rate) {
    this.seconds += samples.length / rate;
    this.#samples += samples.length;
    for (const sample of samples) this.#energy += sample * sample;
  }

  // Seconds, and the RMS in dB of full scale.
  report() {
    const dbfs = 10 * Math.log10(Math.max(this.#energy, 1) / Math.max(this.#samples, 1) / 2 ** 30);
    return { sound_s: Math.round(this.seconds * 100) / 100, dbfs: Math.round(dbfs * 10) / 10 };
  }
}

class Reply {
  text = "";
  status = "";
  sound = new Sound();

  report() {
    return { text: this.text, status: this.status, ...this.sound.report() };
  }
}

// What happened and was not waited for yet.
class Queue {
  #items = [];
  #waiting = [];

  put(item) {
    this.#waiting.length ? this.#waiting.shift()(item) : this.#items.push(item);
  }

  get() {
    return this.#items.length ? this.#items.shift() : new Promise((resolve) => this.#waiting.push(resolve));
  }

  clear() {
    this.#items = [];
  }
}

// What came from the server, one reply after another.
export class Ear {
  reply = new Reply();
  replies = new Queue();
  told = new Queue();
  truncated = new Queue();
  heard = [];
  calls = [];
  errors = [];
  interruption = { told: "", late_s: 0, truncated_ms: null, kept: null };
  #over = new Set();

  // `name` is that of the reply; of one that is over, sound is late.
  takeSound(samples, rate = RATE, name = "") {
    if (this.#over.has(name)) this.interruption.late_s += samples.length / rate;
    else this.reply.sound.add(samples, rate);
  }

  takeText(text) {
    this.reply.text += text;
  }

  takeEnd(status, name = "") {
    note("reply over:", status, this.reply.text);
    if (name) this.#over.add(name);
    this.reply.status = status;
    this.replies.put(this.reply);
    this.reply = new Reply();
  }

  takeInterruption(how) {
    note("told of the interruption:", how);
    this.interruption.told = how;
    this.told.put(how);
  }

  takeTruncation(milliseconds) {
    note("truncated at", milliseconds, "ms");
    this.interruption.truncated_ms = milliseconds;
    this.truncated.put(milliseconds);
  }

  takeHeard(text) {
    note("heard:", text);
    this.heard.push(text);
  }

  takeCall(name, args) {
    note("called:", name, JSON.stringify(args));
    this.calls.push({ name, arguments: args });
  }

  takeError(error) {
    const text = error?.message ?? JSON.stringify(error);
    note("error:", text);
    this.errors.push(text);
  }
}

// Silence in real time, and what is said into it. `send` gets every block of 20 ms, as an Int16Array.
class Microphone {
  #waiting = new Int16Array(0);
  #said = () => {};
  #timer;

  constructor(send) {
    const size = RATE * BLOCK_S;
    const began = performance.now();
    let blocks = 0;
    this.#timer = setInterval(() => {
      for (; began + blocks * BLOCK_S * 1000 <= performance.now(); blocks++) {
        const block = new Int16Array(size);
        block.set(this.#waiting.subarray(0, size));
        this.#waiting = this.#waiting.subarray(size);
        if (!this.#waiting.length) this.#said();
        send(block);
      }
    }, 10);
  }

  // Resolves when all of it has been sent.
  say(samples) {
    this.#waiting = samples;
    return new Promise((resolve) => (this.#said = resolve));
  }

  close() {
    clearInterval(this.#timer);
  }
}

// The whole conversation, then the end of the process. The client has `write`, `writeForATool` and `send`.
export async function hold(client, ear) {
  const limit = setTimeout(() => fail(new Error(`not done after ${LIMIT_S} s`)), LIMIT_S * 1000);
  client.write(QUESTION);
  const found = { typed: (await ear.replies.get()).report() };
  const microphone = new Microphone((block) => client.send(block));
  found.spoken = await speak(microphone, ear);
  found.interruption = await interrupt(client, microphone, ear);
  found.tool = await useATool(client, ear);
  microphone.close();
  clearTimeout(limit);
  process.stdout.write(`${JSON.stringify({ ...found, errors: ear.errors })}\n`, () => process.exit(0));
}

async function speak(microphone, ear) {
  ear.heard = [];
  await microphone.say(recording());
  const reply = await ear.replies.get();
  return { ...reply.report(), heard: ear.heard.join(" ") };
}

async function interrupt(client, microphone, ear) {
  client.write(STORY);
  while (ear.reply.sound.seconds < ARRIVED_S) await sleep(BLOCK_S);
  ear.told.clear();
  const speaking = speak(microphone, ear); // whose reply is the first to come: the one that is cut
  await ear.told.get();
  const cut = await speaking;
  const after = (await ear.replies.get()).report();
  await ear.truncated.get();
  return { ...ear.interruption, cut, after: { ...after, heard: ear.heard.join(" ") } };
}

async function useATool(client, ear) {
  client.writeForATool(WEATHER_QUESTION);
  let answer = await ear.replies.get();
  while (!answer.text) answer = await ear.replies.get(); // the response that is only a call
  return { calls: ear.calls, answer: answer.report() };
}

// The spoken question that the command line names, a WAV with a header of 44 bytes.
function recording() {
  const file = readFileSync(process.argv[3]);
  return new Int16Array(file.buffer.slice(file.byteOffset + 44, file.byteOffset + file.length));
}

function fail(error) {
  note(error?.stack ?? error);
  process.exit(1);
}
