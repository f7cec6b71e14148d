// Ask: a conversation with pictures, sounds and clips; answers as they are written; where they looked.

import { heat } from "./heat.js";
import { Tray, part, shown } from "./media.js";
import { choice, make, modalities, number, request, say, send, teach, trouble } from "./shell.js";

const MEDIA = ["image", "audio", "video"];
const QUESTIONS = { image: ["describe", "many", "ground", "biggest"], audio: ["said"] };

export async function start(panel, { models }) {
  const talking = models.filter((model) => model.task === "chat");
  if (!talking.length) {
    panel.replaceChildren(make("h1", { word: "ask.title" }), teach("ask.nomodel", "ask.nomodel.how", "sensorium quickstart", "sensorium serve runs/quickstart"));
    return {};
  }
  let model = talking[0];
  let turns = []; // {role, text, items, …}
  let running = null;
  let scene = 0;
  const options = { temperature: 0, max_tokens: 128 };

  const log = make("div", { class: "log", role: "log", "aria-live": "polite", "aria-relevant": "additions" });
  const intro = make("div", { class: "intro" });
  const words = make("textarea", { id: "question", rows: 1, enterkeyhint: "send", "word-placeholder": "ask.words", "word-aria-label": "ask.words" });
  const tray = new Tray(model.modalities, { most: 8, changed: () => words.focus() });
  const go = make("button", { class: "primary", id: "ask-go", word: "ask.go" });
  const stop = make("button", { type: "button", class: "primary stop", id: "ask-stop", word: "ask.stop", hidden: true, onclick: () => running?.abort() });
  const form = make("form", { class: "ask-bar", onsubmit: (event) => { event.preventDefault(); ask(words.value); } },
    tray.chips, make("div", { class: "row" }, words, tray.buttons, go, stop));
  const above = make("div", { class: "filters" });
  panel.replaceChildren(make("h1", { word: "ask.title" }), above, intro, log, form);
  tray.catches(form);
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  words.addEventListener("input", () => {
    words.style.height = "auto";
    words.style.height = `${Math.min(words.scrollHeight, 160)}px`;
  });

  function drawAbove() {
    const temperature = make("input", { type: "number", min: 0, max: 2, step: 0.1, value: options.temperature, onchange: (event) => (options.temperature = Number(event.target.value)) });
    const longest = make("input", { type: "number", min: 1, max: 1024, value: options.max_tokens, onchange: (event) => (options.max_tokens = Math.max(1, Number(event.target.value))) });
    above.replaceChildren(
      choice("model", talking.map((one) => [one.name, one.name]), model.name, (name) => {
        model = talking.find((one) => one.name === name);
        tray.take(model.modalities);
        drawIntro();
      }),
      make("details", {}, make("summary", { word: "ask.options" }),
        make("div", { class: "filters" }, make("label", { class: "field" }, make("span", { word: "ask.temperature" }), temperature), make("label", { class: "field" }, make("span", { word: "ask.longest" }), longest))),
      make("span", { class: "grow" }),
      make("button", { type: "button", class: "quiet", id: "ask-clear", word: "ask.clear", onclick: clear }));
  }

  function drawIntro() {
    const lacks = MEDIA.filter((name) => !model.modalities.includes(name));
    const line = [say("ask.takes", { model: model.name, modalities: modalities(model.modalities) })];
    if (lacks.length) line.push(say("ask.takes.not", { modalities: modalities(lacks) }));
    const questions = MEDIA.filter((name) => model.modalities.includes(name)).flatMap((name) => QUESTIONS[name] ?? []);
    const en = (name) => say(`ask.q.${name}`, {}, "en");
    intro.replaceChildren(make("p", { class: "soft" }, line.join(" ")));
    if (turns.length) return;
    intro.append(make("div", { class: "ideas" },
      model.modalities.includes("image") && make("button", { type: "button", class: "chip strong", id: "scene", word: "ask.scene", onclick: addScene }),
      questions.length > 0 && make("span", { class: "soft", word: "ask.try" }),
      ...questions.map((name) => make("button", { type: "button", class: "chip", lang: "en", title: say(`ask.q.${name}`), onclick: async () => {
        if (!tray.items.length && QUESTIONS.image.includes(name)) await addScene();
        ask(en(name));
      } }, en(name)))));
  }

  async function addScene() {
    scene += 1;
    try {
      const blob = await (await send(`/page/scene?number=${scene}`)).blob();
      await tray.add([new File([blob], say("ask.scene.name", { number: scene }), { type: "image/png" })]);
    } catch (error) {
      trouble(error);
    }
  }

  function clear() {
    running?.abort();
    turns = [];
    log.replaceChildren();
    tray.clear();
    words.value = "";
    trouble(null);
    drawIntro();
    words.focus();
  }

  async function ask(text) {
    text = text.trim();
    if (!text || running) return;
    trouble(null);
    const question = { role: "user", text, items: [...tray.items] };
    turns.push(question);
    const wire = turns.map(asWire);
    const carried = turns.flatMap((turn) => turn.items ?? []);
    log.append(make("div", { class: "turn user" }, make("p", { class: "who", word: "ask.you" }), make("div", { class: "seen" }, ...question.items.map(shown)), make("p", { class: "said" }, text)));
    const said = make("p", { class: "said" });
    const state = make("span", { class: "soft small" }, say("ask.thinking"));
    const under = make("div", { class: "under" }, state);
    const turn = make("div", { class: "turn model" }, make("p", { class: "who" }, model.name), said, under);
    log.append(turn);
    words.value = "";
    words.style.height = "auto";
    tray.clear();
    drawIntro();
    turn.scrollIntoView({ block: "nearest" });
    busy(true);
    running = new AbortController();
    const [asked, since] = [model, performance.now()];
    const answer = { role: "assistant", text: "" };
    let finish = "", usage = null;
    try {
      for await (const event of stream({ model: asked.name, messages: wire, ...options }, running.signal)) {
        answer.text += event.choices?.[0]?.delta?.content ?? "";
        finish = event.choices?.[0]?.finish_reason ?? finish;
        usage = event.usage ?? usage;
        said.textContent = answer.text.trim();
      }
    } catch (error) {
      if (error.name !== "AbortError") {
        turns.pop(); // the question can be asked again
        turn.remove();
        log.lastElementChild?.remove();
        words.value = text;
        for (const item of question.items) tray.put(item);
        trouble(error);
        drawIntro();
        return;
      }
      finish = "stopped";
    } finally {
      running = null;
      busy(false);
      words.focus({ preventScroll: true });
    }
    answer.text = answer.text.trim();
    turns.push(answer);
    const facts = [];
    if (usage) facts.push(say("ask.used", { read: number(usage.prompt_tokens), written: number(usage.completion_tokens), seconds: number((performance.now() - since) / 1000, 1) }));
    if (finish === "length") facts.push(say("ask.cut"));
    if (finish === "stopped") facts.push(say("ask.stopped"));
    state.textContent = facts.join(" · ");
    if (answer.text && carried.some((item) => item.modality !== "video"))
      under.append(make("button", { type: "button", class: "quiet look", word: "ask.look", onclick: (event) => look(event.target, under, { model: asked.name, messages: wire, answer: answer.text }, carried) }));
  }

  async function look(button, under, asked, carried) {
    button.disabled = true;
    button.dataset.word = "ask.looking";
    button.textContent = say("ask.looking");
    try {
      const { media } = await request("/page/look", asked);
      button.remove();
      under.after(...media.map((one) => heat(one, carried[one.number])));
    } catch (error) {
      button.disabled = false;
      button.dataset.word = "ask.look";
      button.textContent = say("ask.look");
      trouble(error);
    }
  }

  function busy(yes) {
    go.hidden = yes;
    stop.hidden = !yes;
  }

  document.addEventListener("language", drawIntro);
  drawAbove();
  drawIntro();
  return {};
}

/** A turn in OpenAI's format. */
export function asWire(turn) {
  if (turn.role === "assistant") return { role: "assistant", content: turn.text };
  return { role: "user", content: [...turn.items.map(part), { type: "text", text: turn.text }] };
}

/** The events of an answer as they come. */
export async function* stream(asked, signal) {
  const response = await send("/v1/chat/completions", { ...asked, stream: true, stream_options: { include_usage: true } }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const event = JSON.parse(line.slice(6));
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
}
