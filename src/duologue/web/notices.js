// What went wrong, in words that say what to do next. One notice at a time; a newer one takes its place.

const TYPE = "You can still type below or drop a sound file: the answer is spoken all the same.";

const KNOWN = {
  insecure: ["The microphone needs a secure address.", `Open this page at localhost or over HTTPS. ${TYPE}`],
  NotAllowedError: ["The microphone is blocked.", `Allow it in the browser's address bar, then press the button again. ${TYPE}`],
  NotFoundError: ["No microphone found.", TYPE],
  NotReadableError: ["The microphone is in use elsewhere.", `Close the other program, then press the button again. ${TYPE}`],
  microphone_lost: ["The microphone went away.", `Plug it in and press the button again. ${TYPE}`],
  unreadable_audio: ["That is not a sound file the browser can read.", "WAV, MP3, OGG and FLAC work."],
  full: ["Too much sound at once.", "Some of the answer was left out."],
  lost: ["The connection is lost.", ""],
  idle_timeout: ["Nobody spoke for a while.", "The place was given to others."],
  degraded: ["Something is missing.", ""],
  suspended: ["The sound is paused.", "The browser stopped it; press to go on."],
  server_full: ["All places are taken.", "The page tries again by itself."],
  not_ready: ["The models are still loading.", "The page tries again by itself."],
};

export class Notices {
  constructor(box) {
    this.box = box;
    this.part = (name) => document.getElementById(`notice-${name}`);
    this.code = "";
    this.part("close").onclick = () => this.hide(this.code);
  }

  // `act`: {label, run} for the one thing that the reader can do about it.
  show(code, detail = "", act) {
    const [title, text] = KNOWN[code] ?? ["That did not work.", ""];
    this.code = code;
    this.part("title").textContent = title;
    this.part("text").textContent = [text, detail].filter(Boolean).join(" ");
    this.part("act").hidden = !act;
    this.part("act").textContent = act?.label ?? "";
    this.part("act").onclick = () => act.run();
    this.box.hidden = false;
  }

  // An error of the browser, of this page or of the server; what is not known here speaks for itself.
  showError({ code, name, message, detail = "" }) {
    const key = typeof code === "string" ? code : name; // a DOMException has a number as its code
    this.show(key, KNOWN[key]?.[1] ? detail : message);
  }

  hide(...codes) {
    if (codes.includes(this.code)) this.box.hidden = true;
  }
}
