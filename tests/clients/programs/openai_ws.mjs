// The official package for JavaScript over the `ws` package. It speaks only wss.
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { Ear, baseUrl, hold } from "./flow.mjs";
import { Application, SESSION } from "./openai_application.mjs";

const ear = new Ear();
const realtime = new OpenAIRealtimeWS({ model: "gpt-realtime" }, new OpenAI({ apiKey: "local", baseURL: baseUrl }));
const application = new Application((event) => realtime.send(event), ear);
realtime.on("error", (error) => ear.takeError(error));
realtime.on("event", (event) => application.take(event));
realtime.socket.on("open", () => {
  realtime.send({ type: "session.update", session: SESSION });
  hold(application, ear);
});
