// The official package for JavaScript over the platform's own WebSocket, as in a browser: its key goes as a subprotocol.
import OpenAI from "openai";
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket";
import { Ear, baseUrl, hold } from "./flow.mjs";
import { Application, SESSION } from "./openai_application.mjs";

const ear = new Ear();
const client = new OpenAI({ apiKey: "local", baseURL: baseUrl, dangerouslyAllowBrowser: true });
const realtime = new OpenAIRealtimeWebSocket({ model: "gpt-realtime", dangerouslyAllowBrowser: true }, client);
const application = new Application((event) => realtime.send(event), ear);
realtime.on("error", (error) => ear.takeError(error));
realtime.on("event", (event) => application.take(event));
realtime.socket.addEventListener("open", () => {
  realtime.send({ type: "session.update", session: SESSION });
  hold(application, ear);
});
