// The conversation as something to take away.

export function download(content, type, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = `duologue-${new Date().toISOString().slice(0, 16).replace(":", "")}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Where a page may not write to the clipboard (no secure address, or the browser forbids it), a selected text can still be copied.
export async function copy(text) {
  try {
    return await navigator.clipboard.writeText(text);
  } catch {
    return copySelected(text);
  }
}

function copySelected(text) {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  return area.remove();
}
