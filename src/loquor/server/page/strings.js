/* The page's language: its words, its digits, its direction. */

import en from "./en.js";
import fa from "./fa.js";

const LANGUAGES = { en: { words: en, dir: "ltr", name: "English" }, fa: { words: fa, dir: "rtl", name: "فارسی" } };
const KEPT = "loquor-language";
const ATTRIBUTES = { t: "textContent", tLabel: "ariaLabel", tTitle: "title", tPlaceholder: "placeholder" };

export const changes = new EventTarget(); // "change": the language is another

let language = kept() ?? (navigator.languages.find((each) => each.slice(0, 2) in LANGUAGES) ?? "en").slice(0, 2);

function kept() {
  const name = localStorage.getItem(KEPT);
  return name in LANGUAGES ? name : null;
}

/** A sentence in the page's language. */
export function t(name, values = {}) {
  return LANGUAGES[language].words[name].replace(/{(\w+)}/g, (_, key) => values[key]);
}

/** A number with the language's digits. */
export function digits(value, places = 0) {
  const options = { minimumFractionDigits: places, maximumFractionDigits: places, useGrouping: false };
  return new Intl.NumberFormat(language, options).format(value);
}

/** What somebody wrote as a number, in any digits: NaN if it is none, null if it is nothing. */
export function number(written) {
  const plain = written
    .trim()
    .replace(/[۰-۹]/g, (digit) => digit.charCodeAt(0) - 0x6f0)
    .replace(/[٠-٩]/g, (digit) => digit.charCodeAt(0) - 0x660)
    .replace(/[٫,]/, ".");
  return plain === "" ? null : Number(plain);
}

/** What a language is called in the page's own. */
export function languageName(code) {
  try {
    return new Intl.DisplayNames([language], { type: "language" }).of(code);
  } catch {
    return code; // what a client called its voice's language
  }
}

/** Write the page anew in the language after this one. */
export function switchLanguage() {
  language = other();
  localStorage.setItem(KEPT, language);
  translate();
}

/** Put words wherever the page asks for them: data-t, data-t-label and their like name them. */
export function translate() {
  const root = document.documentElement;
  Object.assign(root, { lang: language, dir: LANGUAGES[language].dir });
  for (const [key, property] of Object.entries(ATTRIBUTES)) {
    const attribute = `data-${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    for (const element of document.querySelectorAll(`[${attribute}]`)) element[property] = t(element.dataset[key]);
  }
  const button = document.getElementById("language");
  Object.assign(button, { lang: other(), textContent: LANGUAGES[other()].name });
  changes.dispatchEvent(new Event("change"));
}

function other() {
  const names = Object.keys(LANGUAGES);
  return names[(names.indexOf(language) + 1) % names.length];
}
