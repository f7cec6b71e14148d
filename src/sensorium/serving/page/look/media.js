// Pictures, sounds and clips on their way to the server: chosen, dropped, pasted or recorded.

import { make, modalities, number, say, served, trouble } from "./shell.js";

const ACCEPT = { image: "image/*", audio: "audio/*", video: "video/*" };
const ICONS = {
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  audio: "M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM19 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z",
  video: "M4 6h11v12H4zM15 10l5-3v10l-5-3",
  microphone: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11a6 6 0 0 0 12 0M12 17v4",
};

/** Buttons that take media, and those that were taken as chips.
 *  takes: modalities; most: how many at once; changed: called when they change. */
export class Tray {
  constructor(takes, { most = 1, changed = () => {} } = {}) {
    this.most = most;
    this.changed = changed;
    this.items = [];
    this.buttons = make("div", { class: "adders" });
    this.chips = make("div", { class: "chips" });
    this.take(takes);
  }

  /** From here on these modalities. */
  take(takes) {
    this.takes = takes.filter((name) => name in ACCEPT);
    this.items = this.items.filter((item) => this.takes.includes(item.modality));
    this.buttons.replaceChildren(...this.takes.map((name) => this.adder(name)));
    if (this.takes.includes("audio")) this.buttons.append(this.microphone());
    this.draw();
  }

  adder(modality) {
    const input = make("input", { type: "file", accept: ACCEPT[modality], class: "away", tabindex: "-1", "aria-hidden": "true", multiple: this.most > 1 });
    input.addEventListener("change", () => {
      this.add([...input.files], modality);
      input.value = "";
    });
    const button = make("button", { type: "button", class: "quiet icon", "word-aria-label": `add.${modality}`, "word-title": `add.${modality}`, "data-add": modality, onclick: () => input.click() }, icon(modality), input);
    return button;
  }

  microphone() {
    let recorder = null;
    const button = make("button", { type: "button", class: "quiet icon", "word-aria-label": "add.microphone", "word-title": "add.microphone", "aria-pressed": "false" }, icon("microphone"));
    button.addEventListener("click", async () => {
      if (recorder) return recorder.stop();
      let stream;
      try {
        stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      } catch {
        return trouble(say("no.microphone"));
      }
      const parts = [];
      recorder = new MediaRecorder(stream);
      recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
      recorder.addEventListener("stop", () => {
        for (const track of stream.getTracks()) track.stop();
        const type = recorder.mimeType.split(";")[0];
        recorder = null;
        button.setAttribute("aria-pressed", "false");
        button.title = say("add.microphone");
        this.add([new File(parts, say("recorded"), { type })], "audio");
      });
      recorder.start();
      button.setAttribute("aria-pressed", "true");
      button.title = say("recording");
    });
    return button;
  }

  async add(files, modality = null) {
    trouble(null);
    for (const file of files) {
      const kind = modality ?? Object.keys(ACCEPT).find((name) => file.type.startsWith(`${name}/`));
      const { limits } = await served();
      if (!this.takes.includes(kind)) trouble(say("not.taken", { name: file.name, modalities: modalities(this.takes) }));
      else if (file.size > limits.bytes) trouble(say("too.large", { name: file.name, most: number(limits.bytes / 2 ** 20) }));
      else this.put({ modality: kind, name: file.name, url: await dataUri(file) });
    }
  }

  put(item) {
    this.items = [...this.items, item].slice(-this.most);
    this.draw();
    this.changed();
  }

  clear() {
    this.items = [];
    this.draw();
  }

  draw() {
    this.chips.hidden = !this.items.length;
    this.chips.replaceChildren(
      ...this.items.map((item) =>
        make("span", { class: "held" }, shown(item), make("button", { type: "button", class: "quiet icon small", "aria-label": say("remove", { name: item.name }), title: say("remove", { name: item.name }), onclick: () => {
          this.items = this.items.filter((other) => other !== item);
          this.draw();
          this.changed();
        } }, "×")),
      ),
    );
  }

  /** Take what is dropped on an element or pasted into it. */
  catches(element) {
    element.addEventListener("dragover", (event) => {
      event.preventDefault();
      element.classList.add("over");
    });
    element.addEventListener("dragleave", () => element.classList.remove("over"));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      element.classList.remove("over");
      this.add([...event.dataTransfer.files]);
    });
    element.addEventListener("paste", (event) => {
      const files = [...event.clipboardData.files];
      if (files.length) {
        event.preventDefault();
        this.add(files);
      }
    });
  }
}

/** A medium to look at or listen to. */
export function shown(item) {
  if (item.modality === "image") return make("img", { src: item.url, alt: item.name });
  if (item.modality === "video") return make("video", { src: item.url, controls: true, "aria-label": item.name });
  return make("audio", { src: item.url, controls: true, "aria-label": item.name });
}

/** A medium as a part of a message. */
export const part = (item) => ({ type: `${item.modality}_url`, [`${item.modality}_url`]: { url: item.url } });

export function icon(name) {
  return make("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: "line" }, make("path", { d: ICONS[name] }));
}

function dataUri(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.addEventListener("error", () => failed(reader.error));
    reader.readAsDataURL(file);
  });
}
