// OpenAI's Agents SDK for JavaScript by WebRTC; here the server truncates what it plays.
import { Loudspeaker, Microphone } from "./calls.mjs";
import { Ear, baseUrl, hold } from "./flow.mjs";

const { OpenAIRealtimeWebRTC } = await import("@openai/agents-realtime");
const { Application } = await import("./agents_application.mjs");

const ear = new Ear();
const microphone = new Microphone();
const loudspeaker = new Loudspeaker(ear);
const audioElement = {};
const transport = new OpenAIRealtimeWebRTC({
  baseUrl: `${baseUrl}/realtime/calls`,
  mediaStream: new MediaStream([microphone.track]),
  audioElement,
  useInsecureApiKey: true,
});

class Caller extends Application {
  send(block) {
    microphone.send(block);
  }

  ended(response) {
    loudspeaker.ended(response);
  }

  "input_audio_buffer.speech_stopped"(event) {
    loudspeaker.take(event);
  }

  "output_audio_buffer.started"(event) {
    loudspeaker.take(event);
  }

  "output_audio_buffer.stopped"(event) {
    loudspeaker.take(event);
  }

  "output_audio_buffer.cleared"(event) {
    loudspeaker.take(event);
    ear.takeInterruption(event.type); // of which the SDK has no event here
  }
}

const caller = new Caller(transport, ear);
await caller.session.connect({ apiKey: "local" });
loudspeaker.listen(audioElement.srcObject.getAudioTracks()[0]);
hold(caller, ear);
