// The portraits to choose from, and the viewer's own pictures.

import { request } from "./http.js";

const MAX_UPLOAD_BYTES = 10_000_000;

export class Gallery {
  /** Fills `element` with radio buttons; `onChosen(portrait)` is called for the one that is chosen. */
  constructor(element, onChosen) {
    this.element = element;
    this.onChosen = onChosen;
  }

  /** Name of the portrait that is chosen, undefined if none. */
  get chosen() {
    return this.element.querySelector("input:checked")?.value;
  }

  async load() {
    const portraits = await request("GET", "/api/portraits");
    if (!portraits.length) throw new Error("this server has no portraits; use your own picture");
    this.element.replaceChildren();
    portraits.forEach((portrait, index) => this.add(portrait, index === 0));
  }

  async upload(file) {
    if (file.size > MAX_UPLOAD_BYTES) throw new Error("the picture is larger than 10 MB; choose a smaller one");
    this.add(await request("PUT", "/api/portraits", file), true);
  }

  add(portrait, checked) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "portrait", value: portrait.name, checked });
    const image = Object.assign(document.createElement("img"), { src: portrait.url, alt: portrait.alt });
    const name = document.createElement("span");
    name.textContent = portrait.name.startsWith("upload-") ? "yours" : portrait.name;
    radio.addEventListener("change", () => this.onChosen(portrait));
    label.append(radio, image, name);
    this.element.append(label);
    if (checked) this.onChosen(portrait);
  }
}
