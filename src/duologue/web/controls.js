// Buttons, keys, and files that are dropped: turns what the reader does into deeds. Knows nothing of what the deeds do.

const $ = (id) => document.getElementById(id);
const FIELDS = "input:not([type=range], [type=checkbox]), textarea, select";
const OWN_KEYS = "button, summary, label, a, input, select, textarea, dialog, [popover]"; // they have a use for the space bar

// `deeds`: toggle() · press() · release() · holding() · mute() · interrupt() · type(text) · file(file) · clear() · openSettings() ·
// save(as) · changed()
export function bindControls(deeds) {
  bindTalkButton(deeds);
  bindTyping(deeds);
  bindKeys(deeds);
  bindDrop(deeds.file);
  $("mute").onclick = deeds.mute;
  $("interrupt").onclick = deeds.interrupt;
  $("clear").onclick = deeds.clear;
  $("open-settings").onclick = deeds.openSettings;
  $("file").onchange = ({ target }) => (deeds.file(target.files[0]), (target.value = ""));
  $("saving").onclick = ({ target }) => {
    const as = target.closest("button")?.value;
    if (as) deeds.save(as);
    $("saving").hidePopover();
  };
}

// The button is held with a finger, the mouse, or Enter and the space bar on it.
function bindTalkButton(deeds) {
  const button = $("talk");
  button.onclick = () => deeds.holding() || deeds.toggle();
  button.onpointerdown = (event) => {
    if (!deeds.holding() || event.button) return;
    button.setPointerCapture(event.pointerId);
    deeds.press();
  };
  button.onlostpointercapture = button.onblur = deeds.release;
  button.oncontextmenu = (event) => deeds.holding() && event.preventDefault(); // a long press on a telephone
}

function bindTyping(deeds) {
  $("text").oninput = deeds.changed;
  $("suggestions").onclick = ({ target }) => target.tagName === "BUTTON" && deeds.type(target.textContent);
  $("typed").onsubmit = (event) => {
    event.preventDefault();
    const text = $("text").value.trim();
    if (text && deeds.type(text)) $("text").value = "";
    deeds.changed();
  };
}

function bindKeys(deeds) {
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || $("settings").open) return;
    if (key === "Escape" && !$("interrupt").hidden && !target.closest("#saving, #insights")) return deeds.interrupt();
    if (target.closest(FIELDS)) return;
    if (isTalkKey(event)) talkKey(event, deeds);
    else if (key.toLowerCase() === "m" && !event.repeat) deeds.mute();
    else if (key === "/") (event.preventDefault(), $("text").focus());
  });
  document.addEventListener("keyup", (event) => {
    if (!isTalkKey(event)) return;
    event.preventDefault(); // Firefox clicks a button when the space bar is let go, whatever became of its going down
    if (deeds.holding()) deeds.release();
  });
  window.addEventListener("blur", () => deeds.release());
}

function isTalkKey({ key, target }) {
  if (target === $("talk")) return key === " " || key === "Enter";
  return key === " " && !target.closest?.(OWN_KEYS);
}

function talkKey(event, deeds) {
  if ($("talk").disabled) return;
  event.preventDefault();
  if (event.repeat) return;
  if (deeds.holding()) deeds.press();
  else deeds.toggle();
}

function bindDrop(speak) {
  const dropping = (is) => document.body.classList.toggle("dropping", is);
  const isFile = ({ dataTransfer }) => dataTransfer.types.includes("Files"); // text may be dragged into the text box
  document.addEventListener("dragover", (event) => isFile(event) && (event.preventDefault(), dropping(true)));
  document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || dropping(false));
  document.addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    dropping(false);
    speak(event.dataTransfer.files[0]);
  });
}
