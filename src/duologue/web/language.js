// The page's own words in the reader's language. English is here from the start, the others are fetched when they are wanted.
// An element with data-say, data-say-label, -title or -placeholder is given the words of that key.

import english from "./words/en.js";

export const LANGUAGES = ["en", "hi", "es", "ms", "ta", "te", "mr"];

let words = english;
let code = "en";

// The reader's choice, or the first of the browser's languages that we speak.
export function preferred(choice) {
  const wishes = [choice, ...navigator.languages.map((tag) => tag.split("-")[0])];
  return wishes.find((wish) => LANGUAGES.includes(wish)) ?? "en";
}

export async function useLanguage(wanted) {
  words = wanted === "en" ? english : (await import(`./words/${wanted}.js`)).default;
  code = wanted;
  document.documentElement.lang = wanted;
  dress(document.body);
}

// `values` fill the {gaps}.
export function say(key, values = {}) {
  const text = words[key] ?? english[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (gap, name) => values[name] ?? gap);
}

export function knows(key) {
  return key in english;
}

// Gives an element words that follow a change of language.
export function saying(element, key) {
  element.dataset.say = key;
  element.textContent = say(key);
  return element;
}

// Engines name languages as they like; what is no language tag is shown as it is.
export function languageName(of) {
  try {
    return new Intl.DisplayNames([code], { type: "language" }).of(of.replaceAll("_", "-"));
  } catch {
    return of;
  }
}

export function number(value, digits) {
  return value.toLocaleString(code, { minimumFractionDigits: digits, maximumFractionDigits: digits, numberingSystem: "latn" });
}

export function seconds(ms) {
  return `${number(ms / 1000, 2)} s`;
}

export function dress(root) {
  for (const element of root.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const [name, attribute] of [["label", "aria-label"], ["title", "title"], ["placeholder", "placeholder"]]) {
    for (const element of root.querySelectorAll(`[data-say-${name}]`)) {
      element.setAttribute(attribute, say(element.getAttribute(`data-say-${name}`)));
    }
  }
}
