// Keeps a telephone's screen on while the microphone listens: a dark one stops it. Browsers that cannot, do not.

let lock = null;
let wanted = false;

export function stayAwake(is) {
  wanted = is;
  if (!is) lock = void lock?.release();
  else if (!lock) take();
}

async function take() {
  try {
    lock = await navigator.wakeLock?.request("screen");
    lock?.addEventListener("release", () => (lock = null)); // the browser does so when the page is hidden
    if (!wanted) stayAwake(false);
  } catch {
    lock = null; // a low battery, or a page that is not shown
  }
}

document.addEventListener("visibilitychange", () => wanted && !document.hidden && !lock && take());
