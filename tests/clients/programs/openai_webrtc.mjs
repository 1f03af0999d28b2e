// The official package for JavaScript by WebRTC; here the server truncates what it plays.
import { Loudspeaker, Microphone } from "./calls.mjs";
import { Ear, baseUrl, hold } from "./flow.mjs";
import { Application, SESSION } from "./openai_application.mjs";

const { OpenAIRealtimeWebRTC } = await import("openai/realtime/webrtc");

const ear = new Ear();
const microphone = new Microphone();
const loudspeaker = new Loudspeaker(ear);

class Caller extends Application {
  send(block) {
    microphone.send(block);
  }

  take(event) {
    super.take(event);
    loudspeaker.take(event);
    if (event.type === "error") ear.takeError(event.error);
  }

  ended(response) {
    loudspeaker.ended(response);
  }

  "output_audio_buffer.cleared"(event) {
    ear.takeInterruption(event.type);
  }
}

async function exchangeSdp(sdp) {
  const body = new FormData();
  body.set("sdp", sdp);
  body.set("session", JSON.stringify({ ...SESSION, model: "gpt-realtime" }));
  const headers = { Authorization: "Bearer local" };
  const response = await fetch(`${baseUrl}/realtime/calls`, { method: "POST", body, headers });
  if (!response.ok) throw new Error(await response.text());
  return response.text();
}

const call = new OpenAIRealtimeWebRTC();
const caller = new Caller((event) => call.send(event), ear);
call.peerConnection.addTrack(microphone.track);
call.peerConnection.addEventListener("track", ({ track }) => loudspeaker.listen(track));
call.onEvent((event) => caller.take(event));
await call.connect({ exchangeSdp });
hold(caller, ear);
