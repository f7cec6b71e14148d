// Search: words, a picture, a sound or a thing of the index -> what is near.

import { Tray } from "./media.js";
import { choice, make, modalities, number, request, say, served, teach, thumbnail, trouble } from "./shell.js";

const MANY = [12, 24, 48, 96];

export async function start(panel, { indexes, models }) {
  if (!indexes.length) {
    panel.replaceChildren(make("h1", { word: "search.title" }), teach("search.noindex", "search.noindex.how",
      ...(models.some((model) => model.task === "embedding") ? ["sensorium index my-index ~/Pictures --model runs/quickstart", "sensorium serve runs/quickstart --index my-index"]
        : ["sensorium quickstart", "sensorium serve runs/quickstart"])));
    return {};
  }
  let index = indexes[0];
  let many = 24, kind = "", chosen = {}, near = null, running = null, last = null;

  const words = make("input", { type: "search", id: "query", enterkeyhint: "search", autocomplete: "off", "word-placeholder": "search.words", "word-aria-label": "search.words" });
  const tray = new Tray(index.takes, { changed: () => { near = null; if (tray.items.length) find(); } });
  const form = make("form", { class: "ask-bar", role: "search", onsubmit: (event) => { event.preventDefault(); near = null; find(); } },
    tray.chips, make("div", { class: "row" }, words, tray.buttons, make("button", { class: "primary", id: "find", word: "search.go" })));
  const filters = make("div", { class: "filters" });
  const ideas = make("div", { class: "ideas" });
  const told = make("div", { class: "told", role: "status", "aria-live": "polite" });
  const gallery = make("ul", { class: "gallery" });
  panel.replaceChildren(make("h1", { word: "search.title" }), form, filters, ideas, told, gallery);
  tray.catches(form);

  function drawFilters() {
    filters.replaceChildren();
    if (indexes.length > 1)
      filters.append(choice("index", indexes.map((one) => [one.name, one.name]), index.name, (name) => {
        index = indexes.find((one) => one.name === name);
        kind = ""; chosen = {}; near = null;
        tray.take(index.takes);
        drawFilters();
        drawIdeas();
        again();
      }));
    filters.append(choice("search.many", MANY.map((n) => [n, number(n)]), many, (value) => { many = Number(value); again(); }));
    const kinds = Object.keys(index.modalities);
    if (kinds.length > 1)
      filters.append(choice("search.kind", [{ value: "", word: "search.all" }, ...kinds.map((name) => ({ value: name, word: `modality.${name}` }))], kind, (value) => { kind = value; again(); }));
    for (const [column, values] of Object.entries(index.choices))
      filters.append(choice(column, [{ value: "", word: "search.all" }, ...values.map((value, n) => [n + 1, String(value)])], chosen[column] ?? "", (value) => { chosen[column] = value; again(); }, { "data-column": column }));
  }

  function drawIdeas() {
    const some = index.examples.filter((one) => one.caption).slice(0, 5);
    ideas.replaceChildren(...(some.length && index.takes.includes("text") ? [make("span", { class: "soft", word: "search.try" })] : []),
      ...(index.takes.includes("text") ? some.map((one) => make("button", { type: "button", class: "chip", onclick: () => { words.value = one.caption; near = null; find(); } }, one.caption)) : []));
  }

  const asked = () => words.value.trim() || tray.items.length || near;
  const again = () => (asked() ? find() : sample());

  function sample() {
    last = null;
    if (!index.rows) {
      told.replaceChildren(teach("search.empty", "search.empty.how", `sensorium index ${index.name} ~/Pictures`));
      gallery.replaceChildren();
      return;
    }
    told.replaceChildren(make("h2", {}, say("search.some", { total: number(index.rows), index: index.name })), make("p", { class: "soft", word: "search.some.hint" }));
    gallery.replaceChildren(...index.examples.map((one) => card(one)));
  }

  async function find() {
    if (!asked()) return sample();
    running?.abort();
    running = new AbortController();
    const mine = running;
    gallery.classList.add("pale");
    trouble(null);
    const query = { index: index.name, top_k: many };
    if (near) query.id = near.id;
    else {
      if (words.value.trim()) query.text = words.value.trim();
      for (const item of tray.items) query[item.modality] = item.url;
    }
    if (kind) query.modality = kind;
    const where = Object.entries(chosen).filter(([, value]) => value).map(([column, value]) => condition(column, index.choices[column][value - 1]));
    if (where.length) query.where = where.join(" AND ");
    const since = performance.now();
    try {
      const { data } = await request("/v1/search", query, mine.signal);
      last = { data, seconds: (performance.now() - since) / 1000, text: query.text, items: [...tray.items], near };
      drawFound();
    } catch (error) {
      if (error.name !== "AbortError") trouble(error);
    } finally {
      if (running === mine) gallery.classList.remove("pale");
    }
  }

  function drawFound() {
    if (!last) return sample();
    const { data, seconds, text, items } = last;
    const parts = [];
    if (last.near) parts.push(`“${last.near.caption || last.near.id}”`);
    if (text) parts.push(`“${text}”`);
    for (const item of items) parts.push(item.name);
    const line = say("search.found", { count: number(data.length), query: parts.join(` ${say("search.and")} `) });
    told.replaceChildren(
      make("h2", {}, line, make("span", { class: "soft small" }, ` ${say("search.seconds", { seconds: number(seconds, 2) })}`)),
      make("p", { class: "soft" }, data.length ? say("search.score.about") : say("search.none")));
    gallery.replaceChildren(...data.map((one) => card(one)));
  }

  function card(one) {
    const name = one.caption || one.id.split("/").pop();
    const picture = one.modality === "image" || one.modality === "video"
      ? make("img", { src: thumbnail(index.name, one.id), alt: "", loading: "lazy", decoding: "async" })
      : make("span", { class: `glyph ${one.modality}` }, one.modality === "text" ? one.caption.slice(0, 160) : "♪");
    const score = one.score === undefined ? null
      : make("span", { class: "score", title: say("search.score", { score: number(one.score, 3) }) }, meter(one.score), make("span", {}, number(one.score, 3)));
    return make("li", {}, make("button", { type: "button", class: "card", "data-id": one.id, "aria-label": say("search.like", { caption: name }), title: say("search.like", { caption: name }), onclick: () => from(one) },
      make("span", { class: "picture" }, picture), make("span", { class: "caption" }, name), score));
  }

  async function from(one) {
    near = one;
    words.value = "";
    tray.clear();
    await find();
    document.getElementById("content").scrollIntoView({ block: "start" });
  }

  document.addEventListener("language", () => { drawFilters(); drawFound(); });
  drawFilters();
  drawIdeas();
  sample();
  return {
    shown(given) {
      if (given?.near) {
        index = indexes.find((one) => one.name === given.index) ?? index;
        drawFilters();
        from(given.near);
      }
    },
  };
}

/** A short bar: how much of the way to 1. */
export function meter(share) {
  const wide = Math.max(0, Math.min(1, share)) * 100;
  return make("svg", { class: "meter", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    make("rect", { class: "track", width: 100, height: 6 }), make("rect", { class: "fill", width: wide.toFixed(2), height: 6 }));
}

/** A column's value as a condition of the index. */
export function condition(column, value) {
  const written = typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value);
  return `\`${column}\` = ${written}`;
}
