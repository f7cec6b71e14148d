// The frame: words, tabs, colours, and asking the server. Each tab has a file of its own.

import { start as ask } from "./ask.js";
import { start as compare } from "./compare.js";
import { start as explore } from "./explore.js";
import { start as reports } from "./reports.js";
import { start as search } from "./search.js";

const TABS = { search, ask, compare, explore, reports };
const WORDS = JSON.parse(document.getElementById("words").textContent);
const started = {};

// ---- words -------------------------------------------------------------------------------------------------------

export let language = kept("language") || document.documentElement.lang;

/** The words of a key in the page's language; {name} becomes values.name. */
export function say(key, values = {}, which = language) {
  return WORDS[key][which].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export const number = (value, digits = 0) =>
  Number(value).toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });

export const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1 %" : `${number(100 * share, share < 0.1 ? 1 : 0)} %`);

export function modalities(names) {
  return names.map((name) => say(`modality.${name}`)).join(language === "zh" ? "、" : ", ");
}

function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = say(element.dataset.word);
  for (const name of ["aria-label", "title", "placeholder"])
    for (const element of document.querySelectorAll(`[data-word-${name}]`))
      element.setAttribute(name, say(element.getAttribute(`data-word-${name}`)));
  const button = document.getElementById("language");
  button.lang = language === "en" ? "zh" : "en";
  button.title = say("language.about");
  document.dispatchEvent(new Event("language"));
}

// ---- elements ----------------------------------------------------------------------------------------------------

/** An element: make("button", { class: "chip", onclick: … }, "text", child, …). Text never becomes HTML.
 *  word: a key of the page's words, kept in the page's language; so are word-title, word-aria-label, … */
export function make(tag, given = {}, ...children) {
  const svg = ["svg", "path", "rect", "circle", "line", "text", "g", "polyline"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "word") {
      element.dataset.word = value;
      element.textContent = say(value);
    } else if (name.startsWith("word-")) {
      element.setAttribute(`data-${name}`, value);
      element.setAttribute(name.slice(5), say(value));
    } else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A labelled choice: options are [value, text] or {value, word}. */
export function choice(word, options, chosen, changed, given = {}) {
  const select = make("select", { ...given, onchange: () => changed(select.value) });
  for (const option of options) {
    const one = option.word ? make("option", { value: option.value, word: option.word }) : make("option", { value: option[0] }, option[1]);
    one.selected = one.value === String(chosen);
    select.append(one);
  }
  return make("label", { class: "field" }, typeof word === "string" && WORDS[word] ? make("span", { word }) : make("span", {}, word), select);
}

/** An empty place that says what to type. */
export function teach(title, how, ...commands) {
  const lines = commands.map((command) => {
    const copy = make("button", { type: "button", class: "quiet small", word: "copy" });
    copy.addEventListener("click", async () => {
      await navigator.clipboard?.writeText(command);
      copy.textContent = say("copied");
      setTimeout(() => (copy.textContent = say("copy")), 1500);
    });
    return make("div", { class: "command" }, make("code", {}, command), copy);
  });
  return make("div", { class: "teach" }, make("h2", { word: title }), make("p", { word: how }), ...lines);
}

export function trouble(error) {
  const place = document.getElementById("trouble");
  place.hidden = !error;
  if (error) place.textContent = `${say("wrong")}: ${error.message ?? error}`;
}

// ---- the server --------------------------------------------------------------------------------------------------

/** JSON from the server; a body is sent as POST. Errors carry the server's own words. */
export async function request(path, body, signal) {
  const response = await send(path, body, signal);
  return response.json();
}

/** A path of the server as an address without the name and the key that the page's own may hold
 *  (me:key@host): fetch takes no such address, and pictures with one would be asked for a key anew. */
export const at = (path) => new URL(path, location.origin).href;

export async function send(path, body, signal) {
  const how = body === undefined ? { signal } : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal };
  let response;
  try {
    response = await fetch(at(path), how);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(say("unreachable"));
  }
  if (response.ok) return response;
  if (response.status === 429) throw new Error(say("busy", { seconds: response.headers.get("Retry-After") ?? "1" }));
  const said = await response.json().catch(() => null);
  throw new Error(said?.error?.message ?? said?.detail ?? `${response.status} ${response.statusText}`);
}

let asked = null;
/** What is served: {models, indexes, limits}. */
export const served = () => (asked ??= request("/page/served").catch((error) => { asked = null; throw error; }));

export const thumbnail = (index, id) => at(`/v1/index/${encodeURIComponent(index)}/thumbnail?id=${encodeURIComponent(id)}`);

// ---- tabs --------------------------------------------------------------------------------------------------------

export async function open(name, given) {
  for (const other of Object.keys(TABS)) {
    const tab = document.getElementById(`tab-${other}`);
    tab.setAttribute("aria-selected", String(other === name));
    tab.tabIndex = other === name ? 0 : -1;
    document.getElementById(other).hidden = other !== name;
  }
  if (location.hash.slice(1) !== name) history.replaceState(null, "", `#${name}`);
  document.getElementById(`tab-${name}`).scrollIntoView({ block: "nearest", inline: "nearest" });
  trouble(null);
  const panel = document.getElementById(name);
  try {
    if (!started[name]) {
      panel.replaceChildren(make("p", { class: "soft", word: "loading" }));
      started[name] = TABS[name](panel, await served());
    }
    (await started[name])?.shown?.(given);
  } catch (error) {
    started[name] = null;
    panel.replaceChildren();
    trouble(error);
  }
}

function kept(name) {
  try {
    return localStorage.getItem(`sensorium.${name}`);
  } catch {
    return null; // a browser that keeps nothing
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(`sensorium.${name}`, value);
  } catch {
    // it is forgotten, then
  }
}

function begin() {
  const names = Object.keys(TABS);
  for (const name of names) {
    const tab = document.getElementById(`tab-${name}`);
    tab.addEventListener("click", () => open(name));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const place = event.key === "Home" ? 0 : event.key === "End" ? names.length - 1 : step && (names.indexOf(name) + step + names.length) % names.length;
      if (place === undefined) return;
      event.preventDefault();
      document.getElementById(`tab-${names[place]}`).focus();
      open(names[place]);
    });
  }
  document.getElementById("language").addEventListener("click", () => {
    language = language === "en" ? "zh" : "en";
    keep("language", language);
    translate();
  });
  const theme = kept("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
    keep("theme", document.documentElement.dataset.theme);
    document.dispatchEvent(new Event("theme"));
  });
  window.addEventListener("hashchange", () => names.includes(location.hash.slice(1)) && open(location.hash.slice(1)));
  translate();
  const wanted = location.hash.slice(1);
  open(names.includes(wanted) ? wanted : "search");
}

begin();
