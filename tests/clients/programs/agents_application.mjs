// What an application on `@openai/agents-realtime` does, whatever its transport.
import { tool } from "@openai/agents-core";
import { RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";
import { z } from "zod";
import { INSTRUCTIONS, PURPOSE, TOOL, WEATHER, note } from "./flow.mjs";

export class Application {
  #ear;
  #truncated;

  constructor(transport, ear) {
    this.#ear = ear;
    this.transport = transport;
    const parameters = z.object({ city: z.string() });
    const weather = tool({ name: TOOL, description: PURPOSE, parameters, execute: (args) => this.#weather(args) });
    const agent = new RealtimeAgent({ name: "assistant", instructions: INSTRUCTIONS, tools: [weather] });
    this.session = new RealtimeSession(agent, { transport, model: "gpt-realtime", tracingDisabled: true });
    this.session.on("error", ({ error }) => ear.takeError(error?.error ?? error));
    this.session.on("audio_interrupted", () => ear.takeInterruption("audio_interrupted"));
    this.session.on("history_updated", (history) => this.#readHistory(history));
    transport.on("*", (event) => this.#take(event));
  }

  write(text) {
    this.session.sendMessage(text);
  }

  writeForATool(text) {
    this.transport.updateSessionConfig({ toolChoice: "required" });
    this.write(text);
  }

  send(block) {
    this.session.sendAudio(block.buffer);
  }

  #weather(args) {
    this.#ear.takeCall(TOOL, args);
    this.transport.updateSessionConfig({ toolChoice: "none" });
    return WEATHER;
  }

  #take(event) {
    if (!event.type.endsWith("delta") && event.type !== "audio") note(event.type);
    if (event.type === "response.done") this.ended(event.response);
    else if (event.type === "conversation.item.input_audio_transcription.completed") this.#ear.takeHeard(event.transcript);
    else if (event.type === "conversation.item.truncated") {
      this.#truncated = event.item_id;
      this.#ear.takeTruncation(event.audio_end_ms);
    }
    this[event.type]?.(event);
  }

  "response.output_audio_transcript.done"(event) {
    this.#ear.takeText(event.transcript);
  }

  ended(response) {
    this.#ear.takeEnd(response.status, response.id);
  }

  // What it keeps of the interrupted reply.
  #readHistory(history) {
    const item = history.find((item) => item.itemId === this.#truncated);
    if (item) this.#ear.interruption.kept = item.content[0].transcript;
  }
}
