// Where an answer looked: a picture, or a sound's time, coloured by what hiding each spot took away.

import { make, number, percent, say } from "./shell.js";

// From nothing to the most, multiplied onto the picture; lightness falls evenly, so that it also reads in grey.
const RAMP = [[255, 255, 255], [255, 224, 138], [250, 150, 60], [222, 60, 45], [138, 10, 62]];
const EVEN = 4; // the scale ends at least here, in times the even share: what looks everywhere alike stays pale
const PALE = 0.5; // of the picture's colour and contrast stay
const SIDE = 448; // pixels of the drawing

/** Shares of the loss by spot, from 0, which sum to 1 (or to 0 where nothing is lost). word: null for all. */
export function shares(lost, word) {
  const summed = lost[0].map((_, spot) => (word === null ? lost.reduce((sum, row) => sum + row[spot], 0) : lost[word][spot]));
  const kept = summed.map((value) => Math.max(0, value));
  const total = kept.reduce((sum, value) => sum + value, 0);
  return kept.map((value) => (total > 1e-6 ? value / total : 0));
}

export function heat(look, item) {
  const canvas = make("canvas", { class: "heat", role: "img" });
  const likely = make("dl", { class: "likely" });
  const note = make("p", { class: "soft small" });
  const name = `word-${Math.random().toString(36).slice(2)}`;
  const [h, w] = look.shape.length === 2 ? look.shape : [1, look.shape[0]];
  const picture = new Image();

  const cost = look.words.map((_, n) => Math.max(0, look.seen[n] - look.blind[n]));
  const most = Math.max(...cost, 1e-6);
  const pick = (value, text, strength) => {
    const input = make("input", { type: "radio", name, value: String(value ?? "all"), checked: value === null, onchange: () => draw(value) });
    return make("label", { class: `word w${Math.round(4 * strength)}` }, input, make("span", {}, text));
  };
  const words = make("fieldset", { class: "words" }, make("legend", { word: "ask.look.words" }),
    make("label", { class: "word" }, make("input", { type: "radio", name, value: "all", checked: true, onchange: () => draw(null) }), make("span", { word: "ask.look.whole" })),
    ...(look.words.length > 1 ? look.words.map((word, n) => pick(n, word, cost[n] / most)) : []));
  words.hidden = look.words.length < 2;

  function draw(word) {
    const share = shares(look.lost, word);
    const times = share.map((value) => value * share.length);
    const scale = Math.max(EVEN, ...times);
    const empty = !times.some((value) => value > 0);
    const spots = new OffscreenCanvas(w, h);
    const pixels = new ImageData(w, h);
    times.forEach((value, n) => pixels.data.set([...coloured(value / scale), 255], 4 * n));
    spots.getContext("2d").putImageData(pixels, 0, 0);
    const drawing = canvas.getContext("2d");
    if (look.modality === "image") {
      const boxed = look.fit === "letterbox";
      const [wide, high] = boxed ? [SIDE, SIDE] : sized(picture.naturalWidth, picture.naturalHeight);
      [canvas.width, canvas.height] = [wide, high];
      const [pw, ph] = sized(picture.naturalWidth, picture.naturalHeight);
      drawing.fillStyle = "#fff";
      drawing.fillRect(0, 0, wide, high);
      drawing.drawImage(picture, (wide - pw) / 2, (high - ph) / 2, pw, ph);
      paled(drawing, wide, high);
      drawing.globalCompositeOperation = "multiply";
      drawing.imageSmoothingEnabled = true;
      drawing.imageSmoothingQuality = "high";
      drawing.drawImage(spots, 0, 0, wide, high);
    } else {
      [canvas.width, canvas.height] = [2 * SIDE, 48];
      drawing.imageSmoothingEnabled = false;
      drawing.drawImage(spots, 0, 0, canvas.width, canvas.height);
    }
    canvas.setAttribute("aria-label", `${say("ask.look.title")}: ${word === null ? look.words.join(" ") : look.words[word]}`);
    canvas.dataset.most = String(share.indexOf(Math.max(...share)));
    const chosen = (values) => Math.exp(word === null ? values.reduce((sum, value) => sum + value, 0) : values[word]);
    likely.replaceChildren(make("dt", {}, say("ask.look.seen")), bar(chosen(look.seen)), make("dt", {}, say("ask.look.blind")), bar(chosen(look.blind)));
    note.textContent = say(empty ? "ask.look.nothing" : "ask.look.about");
  }

  picture.addEventListener("load", () => draw(null));
  if (look.modality === "image") picture.src = item.url;
  else draw(null);
  document.addEventListener("language", () => canvas.isConnected && canvas.width && draw(selected(words)));
  return make("figure", { class: "looked" },
    make("figcaption", { word: "ask.look.title" }),
    make("div", { class: "beside" }, canvas, make("div", {}, words, make("p", { class: "small", word: "ask.look.likely" }), likely, note)));
}

function selected(words) {
  const value = words.querySelector("input:checked").value;
  return value === "all" ? null : Number(value);
}

function bar(share) {
  const wide = (100 * share).toFixed(2);
  return make("dd", {}, make("svg", { class: "meter", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, make("rect", { class: "track", width: 100, height: 6 }), make("rect", { class: "fill", width: wide, height: 6 })), make("span", {}, percent(share)));
}

/** Most of the picture's colour and contrast go, so that the heat's stand out. */
function paled(drawing, wide, high) {
  const pixels = drawing.getImageData(0, 0, wide, high);
  const data = pixels.data;
  for (let at = 0; at < data.length; at += 4) {
    const grey = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    for (let channel = at; channel < at + 3; channel++) data[channel] = 255 - PALE * (255 - (PALE * data[channel] + (1 - PALE) * grey));
  }
  drawing.putImageData(pixels, 0, 0);
}

function coloured(value) {
  const at = Math.max(0, Math.min(1, value)) * (RAMP.length - 1);
  const [low, part] = [Math.min(Math.floor(at), RAMP.length - 2), at - Math.min(Math.floor(at), RAMP.length - 2)];
  return RAMP[low].map((from, channel) => Math.round(from + part * (RAMP[low + 1][channel] - from)));
}

function sized(width, height) {
  const scale = SIDE / Math.max(width, height, 1);
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}
