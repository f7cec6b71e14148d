// Explore: an index seen from above, and how far captions lie from what they describe.

import { at, choice, make, number, open, percent, request, say, teach, thumbnail, trouble } from "./shell.js";

const FINE = 10000; // coordinates of the server
const NEAR = 24; // pixels within which the pointer finds a thing

export async function start(panel, { indexes }) {
  const title = make("h1", { word: "explore.title" });
  if (!indexes.length) {
    panel.replaceChildren(title, teach("search.noindex", "search.noindex.how", "sensorium quickstart", "sensorium serve runs/quickstart"));
    return {};
  }
  let index = indexes[0];
  let map = null, sheet = null, colour = "", draws = "pictures", here = -1;
  let view = { scale: 1, x: 0, y: 0 };
  let pointers = new Map(), moved = 0, pinch = null;

  const above = make("div", { class: "filters" });
  const about = make("p", { class: "soft" });
  const canvas = make("canvas", { class: "map", tabindex: "0", role: "application", "word-aria-label": "explore.map", "aria-describedby": "explore-keys" });
  const card = make("div", { class: "hover", hidden: true });
  const live = make("p", { class: "away", role: "status", "aria-live": "polite" });
  const legend = make("div", { class: "legend" });
  const zoom = make("div", { class: "zoom" },
    make("button", { type: "button", class: "quiet icon", "word-aria-label": "explore.in", "word-title": "explore.in", onclick: () => zoomed(1.6) }, "+"),
    make("button", { type: "button", class: "quiet icon", "word-aria-label": "explore.out", "word-title": "explore.out", onclick: () => zoomed(1 / 1.6) }, "−"),
    make("button", { type: "button", class: "quiet icon", "word-aria-label": "explore.all", "word-title": "explore.all", onclick: whole }, "⤢"));
  const stage = make("div", { class: "stage" }, canvas, zoom, card);
  const chosen = make("div", { class: "chosen" });
  const gap = make("section", { class: "gap" });
  panel.replaceChildren(title, above, about, stage, legend, chosen, make("p", { class: "soft small", id: "explore-keys", word: "explore.keys" }), live, gap);

  async function load() {
    map = sheet = null;
    here = -1;
    card.hidden = true;
    chosen.replaceChildren();
    stage.classList.add("pale");
    drawGap();
    const name = encodeURIComponent(index.name);
    const wanted = index;
    try {
      const found = await request(`/page/map?index=${name}`);
      if (wanted !== index) return;
      map = found;
      stage.hidden = map.ids.length === 0;
      colour = Object.keys(groups())[0] ?? "";
      view = { scale: 1, x: 0, y: 0 };
      drawAbove();
      draw();
      if (map.pictures?.some(Boolean)) {
        const picture = new Image();
        picture.addEventListener("load", () => { if (wanted === index) { sheet = picture; draw(); } });
        picture.src = at(`/page/sprites?index=${name}`);
      }
    } finally {
      stage.classList.remove("pale");
    }
  }

  function groups() {
    const by = {};
    if (new Set(map?.modalities).size > 1) by.modality = map.modalities;
    return { ...by, ...map?.groups };
  }

  function drawAbove() {
    above.replaceChildren();
    if (indexes.length > 1) above.append(choice("index", indexes.map((one) => [one.name, one.name]), index.name, (name) => { index = indexes.find((one) => one.name === name); load().catch(trouble); }));
    const by = Object.keys(groups());
    if (by.length) above.append(choice("explore.colour", [{ value: "", word: "explore.none" }, ...by.map((name) => [name, name])], colour, (name) => { colour = name; draw(); }));
    if (map.pictures?.some(Boolean)) above.append(choice("explore.draw", [{ value: "pictures", word: "explore.pictures" }, { value: "dots", word: "explore.dots" }], draws, (how) => { draws = how; draw(); }));
    about.textContent = map.ids.length ? say("explore.about", { shown: number(map.ids.length), total: number(map.total), method: map.method }) : say("explore.few");
  }

  // ---- drawing ---------------------------------------------------------------------------------------------------

  function place(n) {
    const size = Math.min(canvas.clientWidth, canvas.clientHeight) - 24;
    const [left, top] = [(canvas.clientWidth - size) / 2, (canvas.clientHeight - size) / 2];
    const [x, y] = map.points[n];
    return [left + view.x + (x / FINE) * size * view.scale, top + view.y + (y / FINE) * size * view.scale];
  }

  function draw() {
    if (!map?.ids.length || !canvas.clientWidth) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const drawing = canvas.getContext("2d");
    drawing.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const colours = ["--c0", "--c1", "--c2", "--c3", "--c4", "--c5"].map((name) => style.getPropertyValue(name));
    const grey = style.getPropertyValue("--grey");
    const values = groups()[colour];
    const names = values ? [...new Set(values)].sort((a, b) => values.filter((v) => v === b).length - values.filter((v) => v === a).length) : [];
    const of = (n) => (values ? colours[names.indexOf(values[n])] ?? grey : colours[0]);
    const side = Math.max(18, Math.min(map.sprite, 22 * view.scale ** 0.7));
    const taken = new Set();
    for (let n = 0; n < map.ids.length; n++) {
      const [x, y] = place(n);
      if (x < -40 || y < -40 || x > canvas.clientWidth + 40 || y > canvas.clientHeight + 40) continue;
      const cell = `${Math.round(x / side)} ${Math.round(y / side)}`;
      if (draws === "pictures" && sheet && map.pictures[n] && !taken.has(cell)) {
        taken.add(cell);
        drawing.fillStyle = "#fff";
        drawing.strokeStyle = of(n);
        drawing.lineWidth = 1.2;
        drawing.beginPath();
        drawing.roundRect(x - side / 2, y - side / 2, side, side, 4);
        drawing.fill();
        const [sx, sy] = [(n % map.across) * map.sprite, Math.floor(n / map.across) * map.sprite];
        drawing.drawImage(sheet, sx, sy, map.sprite, map.sprite, x - side / 2 + 1, y - side / 2 + 1, side - 2, side - 2);
        if (values) drawing.stroke();
      } else if (draws === "dots" || !map.pictures[n] || !sheet) {
        drawing.fillStyle = of(n);
        drawing.globalAlpha = 0.75;
        drawing.beginPath();
        drawing.arc(x, y, 3.2, 0, 7);
        drawing.fill();
        drawing.globalAlpha = 1;
      }
    }
    if (here >= 0) {
      const [x, y] = place(here);
      drawing.strokeStyle = style.getPropertyValue("--ink");
      drawing.lineWidth = 2.5;
      drawing.beginPath();
      drawing.arc(x, y, 15, 0, 7);
      drawing.stroke();
    }
    legend.replaceChildren(...names.slice(0, 6).map((name, n) => make("span", { class: `key c${n}` }, make("span", { class: "swatch" }), name || "–")), ...(names.length > 6 ? [make("span", { class: "key grey" }, make("span", { class: "swatch" }), "…")] : []));
  }

  // ---- moving about ----------------------------------------------------------------------------------------------

  function nearest(x, y, within = NEAR) {
    let [best, least] = [-1, within ** 2];
    for (let n = 0; n < map.ids.length; n++) {
      const [px, py] = place(n);
      const far = (px - x) ** 2 + (py - y) ** 2;
      if (far < least) [best, least] = [n, far];
    }
    return best;
  }

  function point(n, speak = false) {
    if (n === here) return;
    here = n;
    draw();
    card.hidden = n < 0;
    if (n < 0) return;
    const name = map.captions[n] || map.ids[n].split("/").pop();
    const groupsHere = Object.entries(groups()).map(([column, values]) => `${column}: ${values[n]}`).join(" · ");
    card.replaceChildren(map.pictures[n] ? make("img", { src: thumbnail(index.name, map.ids[n]), alt: "" }) : make("span", { class: "glyph" }, map.modalities[n] === "text" ? "¶" : "♪"), make("strong", {}, name), make("span", { class: "soft small" }, groupsHere));
    const [x, y] = place(n);
    const narrow = canvas.clientWidth < 560; // there it stands in a corner away from the finger
    card.style.left = `${narrow ? 8 : Math.max(4, Math.min(x + 18, canvas.clientWidth - 190))}px`;
    card.style.top = `${narrow ? (y < canvas.clientHeight / 2 ? canvas.clientHeight - 200 : 8) : Math.max(4, Math.min(y + 18, canvas.clientHeight - 200))}px`;
    chosen.replaceChildren(make("span", {}, name), make("button", { type: "button", class: "quiet", word: "explore.search", onclick: from }));
    if (speak) live.textContent = name;
  }

  function from() {
    if (here >= 0) open("search", { index: index.name, near: { id: map.ids[here], caption: map.captions[here], modality: map.modalities[here] } });
  }

  function zoomed(by, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
    const scale = Math.max(1, Math.min(40, view.scale * by));
    const size = Math.min(canvas.clientWidth, canvas.clientHeight) - 24;
    const [left, top] = [(canvas.clientWidth - size) / 2, (canvas.clientHeight - size) / 2];
    const grown = scale / view.scale;
    view = { scale, x: x - left - (x - left - view.x) * grown, y: y - top - (y - top - view.y) * grown };
    if (scale === 1) view = { scale, x: 0, y: 0 };
    draw();
  }

  function whole() {
    view = { scale: 1, x: 0, y: 0 };
    draw();
  }

  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomed(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY); }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    moved = 0;
    pinch = null;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!map?.ids.length) return;
    const at = [event.offsetX, event.offsetY];
    const before = pointers.get(event.pointerId);
    if (!before) return void (event.pointerType === "mouse" && point(nearest(...at)));
    pointers.set(event.pointerId, at);
    if (pointers.size === 2) {
      const [[ax, ay], [bx, by]] = pointers.values();
      const wide = Math.hypot(ax - bx, ay - by);
      if (pinch) zoomed(wide / pinch, (ax + bx) / 2, (ay + by) / 2);
      pinch = wide;
      moved = 99;
      return;
    }
    moved += Math.abs(at[0] - before[0]) + Math.abs(at[1] - before[1]);
    if (moved < 4) return;
    view.x += at[0] - before[0];
    view.y += at[1] - before[1];
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    pointers.delete(event.pointerId);
    pinch = null;
    if (moved >= 4 || !map?.ids.length) return;
    const found = nearest(event.offsetX, event.offsetY);
    if (found >= 0 && found === here) from();
    else point(found, true);
  });
  canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !pointers.size && (card.hidden = true));
  canvas.addEventListener("keydown", (event) => {
    if (!map?.ids.length) return;
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (step) {
      const next = here < 0 ? nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, 1e6) : towards(here, step);
      if (next >= 0) point(next, true);
    } else if (event.key === "+" || event.key === "=") zoomed(1.6, ...(here >= 0 ? place(here) : []));
    else if (event.key === "-") zoomed(1 / 1.6, ...(here >= 0 ? place(here) : []));
    else if (event.key === "0") whole();
    else if (event.key === "Enter") from();
    else return;
    event.preventDefault();
  });

  /** The nearest thing that lies more in this direction than across it. */
  function towards(n, [dx, dy]) {
    const [x, y] = place(n);
    let [best, least] = [-1, Infinity];
    for (let m = 0; m < map.ids.length; m++) {
      const [px, py] = place(m);
      const [along, beside] = [(px - x) * dx + (py - y) * dy, Math.abs((px - x) * dy) + Math.abs((py - y) * dx)];
      if (m === n || along <= 0.5 || beside > along) continue;
      if (along + 2 * beside < least) [best, least] = [m, along + 2 * beside];
    }
    return best;
  }

  // ---- the gap ---------------------------------------------------------------------------------------------------

  let found = null;
  function drawGap() {
    const measure = make("button", { type: "button", class: "quiet", id: "measure-gap", word: "explore.gap.measure" });
    const asked = index;
    measure.addEventListener("click", async () => {
      measure.disabled = true;
      measure.textContent = say("explore.gap.measuring");
      try {
        const numbers = await request(`/page/gap?index=${encodeURIComponent(asked.name)}`);
        if (asked !== index) return;
        found = numbers;
        shownGap();
      } catch (error) {
        measure.disabled = false;
        measure.textContent = say("explore.gap.measure");
        trouble(error);
      }
    });
    found = null;
    gap.replaceChildren(make("h2", { word: "explore.gap" }), measure);
  }

  function shownGap() {
    if (!found) return;
    if (!found.names) return gap.replaceChildren(make("h2", { word: "explore.gap" }), make("p", { class: "soft", word: "explore.gap.none" }));
    const named = (name) => (name === "captions" ? say("captions") : name === "media" ? name : say(`modality.${name}`));
    const [first, second] = found.names.map(named);
    const row = (word, value) => [make("dt", { word }), make("dd", {}, value)];
    const { distance, blind, separability, matched, unmatched } = found.numbers;
    gap.replaceChildren(
      make("h2", { word: "explore.gap" }),
      make("p", { class: "soft" }, say("explore.gap.about", { first, second })),
      make("div", { class: "pair" },
        make("figure", {}, scatter(), make("figcaption", { class: "legend" }, make("span", { class: "key c0" }, make("span", { class: "swatch" }), first), make("span", { class: "key c1" }, make("span", { class: "swatch" }), second))),
        make("div", {}, histogram(),
          make("div", { class: "legend" }, make("span", { class: "key c2" }, make("span", { class: "swatch" }), say("explore.gap.matched")), make("span", { class: "key grey" }, make("span", { class: "swatch" }), say("explore.gap.unmatched"))),
          make("dl", { class: "facts" }, ...row("explore.gap.distance", number(distance, 3)), ...row("explore.gap.blind", number(blind, 3)), ...row("explore.gap.separability", percent(separability)), ...row("explore.gap.matched", number(matched, 3)), ...row("explore.gap.unmatched", number(unmatched, 3))),
          make("p", { class: "soft small", word: "explore.gap.reading" }))));
  }

  function scatter() {
    const [W, H] = [520, 360];
    const at = ([x, y]) => [((0.02 + (0.96 * x) / FINE) * W).toFixed(1), ((0.02 + (0.96 * y) / FINE) * H).toFixed(1)];
    const joined = found.pairs.filter((_, n) => n % Math.ceil(found.pairs.length / 120) === 0);
    const lines = joined.map(([a, b]) => { const [[x1, y1], [x2, y2]] = [at(found.first[a]), at(found.second[b])]; return make("line", { x1, y1, x2, y2, class: "join" }); });
    const dots = (points, kind) => points.map((point) => { const [cx, cy] = at(point); return make("circle", { cx, cy, r: 2.6, class: `dot ${kind}` }); });
    return make("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": say("explore.gap") }, ...lines, ...dots(found.first, "c0"), ...dots(found.second, "c1"));
  }

  function histogram() {
    const [W, H, low] = [520, 190, 24];
    const [from, to] = [found.edges[0], found.edges.at(-1)];
    const most = Math.max(...found.matched, ...found.all);
    const x = (value) => ((value - from) / (to - from)) * W;
    const area = (shares, kind) => make("polyline", { class: `area ${kind}`, points: [`0,${H - low}`, ...shares.flatMap((share, n) => [found.edges[n], found.edges[n + 1]].map((edge) => `${x(edge).toFixed(1)},${((H - low) * (1 - (0.95 * share) / most)).toFixed(1)}`)), `${W},${H - low}`].join(" ") });
    const step = to - from > 0.8 ? 0.25 : 0.1;
    const ticks = [];
    for (let value = Math.ceil(from / step) * step; value <= to; value += step) if (x(value) > 18 && x(value) < W - 18) ticks.push(make("text", { x: x(value).toFixed(1), y: H - 6, "text-anchor": "middle" }, number(value, 2)));
    return make("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": say("explore.gap.matched") }, area(found.all, "grey"), area(found.matched, "c2"), ...ticks);
  }

  new ResizeObserver(draw).observe(canvas);
  document.addEventListener("theme", draw);
  document.addEventListener("language", () => { if (map) { drawAbove(); draw(); } shownGap(); });
  drawGap();
  await load();
  return { shown: () => requestAnimationFrame(draw) };
}
