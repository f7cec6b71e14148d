// Compare: two models on the same input, side by side.

import { asWire, stream } from "./ask.js";
import { Tray } from "./media.js";
import { meter } from "./search.js";
import { choice, make, modalities, number, percent, request, say, teach, thumbnail, trouble } from "./shell.js";

const MEDIA = ["image", "audio", "video"];

export async function start(panel, { models, indexes }) {
  const kinds = ["chat", "embedding", "classification"].filter((task) => models.filter((model) => model.task === task).length > 1);
  const title = make("h1", { word: "compare.title" });
  if (!kinds.length) {
    const example = models.find((model) => model.task === "chat") ? "sensorium serve runs/quickstart weights/smol_llava" : "sensorium serve runs/one runs/other";
    const now = make("p", { class: "soft" }, say("compare.now", { names: models.map((model) => `${model.name} (${say(`task.${model.task}`)})`).join(", ") || "–" }));
    panel.replaceChildren(title, teach("compare.few", "compare.few.how", example), now);
    return {};
  }
  let task = kinds[0];
  let [left, right] = of(task);
  let running = null;

  const above = make("div", { class: "filters" });
  const hint = make("p", { class: "soft small" });
  const words = make("input", { type: "text", id: "both", autocomplete: "off", "word-placeholder": "ask.words", "word-aria-label": "ask.words" });
  const labels = make("textarea", { id: "labels", rows: 4, "word-aria-label": "compare.labels" }, say("compare.labels.some"));
  const labelled = make("label", { class: "field tall" }, make("span", { word: "compare.labels" }), labels);
  const tray = new Tray([], { changed: () => words.focus() });
  const columns = make("div", { class: "columns" });
  const go = make("button", { class: "primary", id: "compare-go", word: "compare.go" });
  const results = make("div", { class: "pair" });
  const verdict = make("p", { class: "told", role: "status" });
  const form = make("form", { class: "ask-bar", onsubmit: (event) => { event.preventDefault(); both(); } },
    tray.chips, make("div", { class: "row" }, words, tray.buttons, go), labelled, columns);
  panel.replaceChildren(title, above, form, hint, verdict, results);
  tray.catches(form);

  function of(wanted) {
    return models.filter((model) => model.task === wanted);
  }

  function common() {
    if (task === "classification") return [...new Set([...Object.values(left.columns), ...Object.values(right.columns)])];
    return left.modalities.filter((name) => right.modalities.includes(name));
  }

  function draw() {
    const names = of(task).map((model) => [model.name, model.name]);
    above.replaceChildren();
    if (kinds.length > 1)
      above.append(choice("search.kind", kinds.map((kind) => ({ value: kind, word: `task.${kind}` })), task, (kind) => {
        task = kind;
        [left, right] = of(task);
        draw();
      }));
    above.append(
      choice("compare.a", names, left.name, (name) => { left = of(task).find((model) => model.name === name); draw(); }),
      choice("compare.b", names, right.name, (name) => { right = of(task).find((model) => model.name === name); draw(); }));
    tray.take(common().filter((name) => MEDIA.includes(name)));
    labelled.hidden = task !== "embedding";
    words.dataset.wordPlaceholder = words.dataset.wordAriaLabel = task === "chat" ? "ask.words" : "compare.words";
    words.placeholder = say(words.dataset.wordPlaceholder);
    words.setAttribute("aria-label", words.placeholder);
    hint.textContent = say("compare.takes", { modalities: modalities(common().filter((name) => MEDIA.includes(name))) });
    results.replaceChildren();
    verdict.textContent = "";
  }

  async function both() {
    const text = words.value.trim();
    if (!text && !tray.items.length) return words.focus();
    running?.abort();
    running = new AbortController();
    trouble(null);
    verdict.textContent = "";
    go.disabled = true;
    const how = { chat: talk, embedding: place, classification: predict }[task];
    const panels = [left, right].map((model) => make("section", { class: "side", "aria-label": model.name }, make("h2", {}, model.name)));
    results.replaceChildren(...panels);
    try {
      const said = await Promise.all([left, right].map((model, n) => how(model, panels[n], text, tray.items, running.signal)));
      if (said.every((one) => typeof one === "string")) {
        const same = said[0].toLowerCase().replace(/\W+$/, "") === said[1].toLowerCase().replace(/\W+$/, "");
        verdict.dataset.word = same ? "compare.same" : "compare.differ";
        verdict.textContent = say(verdict.dataset.word);
      }
    } catch (error) {
      if (error.name !== "AbortError") trouble(error);
    } finally {
      go.disabled = false;
    }
  }

  async function talk(model, side, text, items, signal) {
    const said = make("p", { class: "said" });
    const under = make("p", { class: "soft small" }, say("ask.thinking"));
    side.append(said, under);
    const since = performance.now();
    let answer = "", usage = null;
    for await (const event of stream({ model: model.name, messages: [asWire({ role: "user", text: text || say("ask.q.describe", {}, "en"), items })], max_tokens: 128 }, signal)) {
      answer += event.choices?.[0]?.delta?.content ?? "";
      usage = event.usage ?? usage;
      said.textContent = answer.trim();
    }
    under.textContent = usage ? say("ask.used", { read: number(usage.prompt_tokens), written: number(usage.completion_tokens), seconds: number((performance.now() - since) / 1000, 1) }) : "";
    return answer.trim();
  }

  async function place(model, side, text, items, signal) {
    const given = items[0] ? { [items[0].modality]: items[0].url } : { text };
    const wanted = [...new Set(labels.value.split("\n").map((line) => line.trim()).filter(Boolean))];
    const within = indexes.find((index) => index.model === model.name);
    let best = null;
    if (wanted.length > 1) {
      const { data } = await request("/v1/classify", { model: model.name, input: [given], labels: wanted }, signal);
      const scores = Object.entries(data[0].scores.label).sort((a, b) => b[1] - a[1]);
      best = scores[0][0];
      side.append(make("h3", { word: "compare.fits" }), bars(scores));
    }
    side.append(make("h3", { word: "compare.nearest" }));
    if (!within) side.append(make("p", { class: "soft", word: "compare.noindex" }));
    else {
      const query = { index: within.name, top_k: 6, ...(text ? { text } : {}), ...(items[0] ? given : {}) };
      const { data } = await request("/v1/search", query, signal);
      side.append(make("ul", { class: "gallery small" }, ...data.map((one) => make("li", {}, make("div", { class: "card" },
        make("span", { class: "picture" }, one.thumbnail ? make("img", { src: thumbnail(within.name, one.id), alt: "" }) : make("span", { class: "glyph" }, "♪")),
        make("span", { class: "caption" }, one.caption || one.id), make("span", { class: "score" }, meter(one.score), make("span", {}, number(one.score, 3))))))));
    }
    return best;
  }

  async function predict(model, side, text, items, signal) {
    const row = {};
    for (const [column, modality] of Object.entries(model.columns)) {
      if (modality === "text" && text) row[column] = text;
      const item = items.find((one) => one.modality === modality);
      if (item) row[column] = item.url;
    }
    const { data } = await request("/v1/classify", { model: model.name, input: [row] }, signal);
    for (const [name, answer] of Object.entries(data[0].answers)) {
      const scores = data[0].scores[name];
      side.append(make("h3", {}, name), make("p", { class: "said" }, typeof answer === "object" ? JSON.stringify(answer) : String(answer)));
      if (scores) side.append(bars(Object.entries(scores).sort((a, b) => b[1] - a[1]).slice(0, 8)));
    }
    return JSON.stringify(data[0].answers);
  }

  document.addEventListener("language", () => {
    hint.textContent = say("compare.takes", { modalities: modalities(common().filter((name) => MEDIA.includes(name))) });
  });
  draw();
  return {};
}

function bars(scores) {
  return make("dl", { class: "bars" }, ...scores.flatMap(([label, share]) => [make("dt", {}, label), make("dd", {}, meter(share), make("span", {}, percent(share)))]));
}
