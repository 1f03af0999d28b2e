// What an application on the `openai` package does with the events, whatever they came by: the package leaves it all to it.
import { INSTRUCTIONS, PLAYED_S, PURPOSE, TOOL, WEATHER, note } from "./flow.mjs";

const TOOLS = [
  {
    type: "function",
    name: TOOL,
    description: PURPOSE,
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];

export const SESSION = {
  type: "realtime",
  instructions: INSTRUCTIONS,
  audio: { input: { transcription: { model: "whisper-1" } } },
};

export class Application {
  #send;
  #ear;
  #playing = null;

  constructor(send, ear) {
    this.#send = send;
    this.#ear = ear;
  }

  write(text) {
    const item = { type: "message", role: "user", content: [{ type: "input_text", text }] };
    this.#send({ type: "conversation.item.create", item });
    this.#send({ type: "response.create" });
  }

  writeForATool(text) {
    this.#send({ type: "session.update", session: { type: "realtime", tools: TOOLS, tool_choice: "required" } });
    this.write(text);
  }

  send(block) {
    this.#send({ type: "input_audio_buffer.append", audio: Buffer.from(block.buffer).toString("base64") });
  }

  take(event) {
    if (!event.type.endsWith(".delta")) note(event.type);
    this[event.type]?.(event);
  }

  "response.output_audio.delta"(event) {
    const bytes = Buffer.from(event.delta, "base64");
    this.#playing = event.item_id;
    this.#ear.takeSound(new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2), undefined, event.response_id);
  }

  "response.output_audio_transcript.done"(event) {
    this.#ear.takeText(event.transcript);
  }

  "response.function_call_arguments.done"(event) {
    this.#ear.takeCall(event.name, JSON.parse(event.arguments));
    const item = { type: "function_call_output", call_id: event.call_id, output: WEATHER };
    this.#send({ type: "conversation.item.create", item });
  }

  "response.done"({ response }) {
    this.#playing = null;
    this.ended(response);
    if (response.output.some((item) => item.type === "function_call")) {
      this.#send({ type: "response.create", response: { tool_choice: "none" } });
    }
  }

  ended(response) {
    this.#ear.takeEnd(response.status, response.id);
  }

  "conversation.item.input_audio_transcription.completed"(event) {
    this.#ear.takeHeard(event.transcript);
  }

  "input_audio_buffer.speech_started"(event) {
    if (this.#playing === null) return;
    this.#ear.takeInterruption(event.type);
    const cut = { item_id: this.#playing, content_index: 0, audio_end_ms: PLAYED_S * 1000 };
    this.#send({ type: "conversation.item.truncate", ...cut });
  }

  "conversation.item.truncated"(event) {
    this.#ear.takeTruncation(event.audio_end_ms);
    this.#send({ type: "conversation.item.retrieve", item_id: event.item_id });
  }

  "conversation.item.retrieved"(event) {
    this.#ear.interruption.kept = event.item.content[0].transcript;
  }
}
