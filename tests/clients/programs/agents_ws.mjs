// OpenAI's Agents SDK for JavaScript by WebSocket.
import { OpenAIRealtimeWebSocket } from "@openai/agents-realtime";
import { Application } from "./agents_application.mjs";
import { Ear, hold, websocketUrl } from "./flow.mjs";

const ear = new Ear();
const application = new Application(new OpenAIRealtimeWebSocket({ url: `${websocketUrl}?model=gpt-realtime` }), ear);
application.session.on("audio", ({ data, responseId }) => ear.takeSound(new Int16Array(data), undefined, responseId));
await application.session.connect({ apiKey: "local" });
hold(application, ear);
