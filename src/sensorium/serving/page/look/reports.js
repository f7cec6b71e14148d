// Reports: what the runs behind the models wrote of themselves.

import { at, make, number, request, say, teach } from "./shell.js";

export async function start(panel) {
  const reports = await request("/page/reports");
  const title = make("h1", { word: "reports.title" });
  if (!reports.length) {
    panel.replaceChildren(title, teach("reports.none", "reports.none.how", "sensorium quickstart"));
    return {};
  }
  // The page of a run is not ours to trust: it gets an origin of its own, in which its script folds and sorts.
  const frame = make("iframe", { sandbox: "allow-scripts", referrerpolicy: "no-referrer", loading: "lazy" });
  const alone = make("a", { class: "quiet", target: "_blank", rel: "noopener", word: "reports.open" });
  const list = make("div", { class: "filters", role: "group", "aria-labelledby": "tab-reports" });
  let open = reports[0];

  function draw() {
    const path = at(`/page/reports/${encodeURIComponent(open.name)}`);
    if (frame.getAttribute("src") !== path) frame.src = path;
    frame.title = say("reports.frame", { name: open.name });
    alone.href = path;
    list.replaceChildren(
      ...reports.map((one) => {
        const day = new Date(1000 * one.changed).toLocaleDateString(document.documentElement.lang, { year: "numeric", month: "short", day: "numeric" });
        return make("button", { type: "button", class: "chip tall", "aria-pressed": String(one === open), onclick: () => { open = one; draw(); } },
          make("strong", {}, one.name), make("span", { class: "soft small" }, `${say(`reports.${one.kind}`)} · ${day} · ${number(one.bytes / 1024)} kB`));
      }),
      make("span", { class: "grow" }), alone);
  }

  panel.replaceChildren(title, list, frame);
  document.addEventListener("language", draw);
  draw();
  return {};
}
