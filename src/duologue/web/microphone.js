// The microphone and the list of devices, as the browser gives them. Knows no audio graph.

import { PageError } from "./errors.js";

export const PROCESSING = ["echoCancellation", "noiseSuppression", "autoGainControl"];

// `wanted`: {microphone: deviceId or "", echoCancellation, noiseSuppression, autoGainControl}. Throws what getUserMedia does.
// A device that is no longer there is replaced by the usual one.
export async function openMicrophone(wanted) {
  if (!navigator.mediaDevices?.getUserMedia) throw new PageError("insecure");
  const audio = { channelCount: { ideal: 1 } };
  for (const name of PROCESSING) audio[name] = wanted[name] ?? true;
  const chosen = wanted.microphone && { audio: { ...audio, deviceId: { exact: wanted.microphone } } };
  if (chosen) return navigator.mediaDevices.getUserMedia(chosen).catch(() => navigator.mediaDevices.getUserMedia({ audio }));
  return navigator.mediaDevices.getUserMedia({ audio });
}

// [{id, name}] of "audioinput" or "audiooutput"; without permission browsers give no names, and then there is no list.
export async function devices(kind) {
  const known = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return known
    .filter((device) => device.kind === kind && device.label && device.deviceId !== "default")
    .map(({ deviceId, label }) => ({ id: deviceId, name: label }));
}

// What is known without asking for permission: "" if nothing stands in the way, else "insecure", "none" or "blocked".
export async function obstacle() {
  if (!navigator.mediaDevices?.enumerateDevices) return "insecure";
  const known = await navigator.mediaDevices.enumerateDevices();
  if (!known.some(({ kind }) => kind === "audioinput")) return "none";
  const permission = await navigator.permissions?.query({ name: "microphone" }).catch(() => null); // not every browser tells
  return permission?.state === "denied" ? "blocked" : "";
}

export function onDevices(changed) {
  navigator.mediaDevices?.addEventListener?.("devicechange", changed);
}
