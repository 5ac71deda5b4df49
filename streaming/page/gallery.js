// The portraits to choose from, and the viewer's own pictures.

import { request } from "./http.js";
import { fit } from "./picture.js";

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
    const portrait = await request("PUT", "/api/portraits", await fit(file));
    this.add(portrait, true, file.name.replace(/\.[^.]*$/, "") || "yours");
  }

  add(portrait, checked, text = portrait.name) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "portrait", value: portrait.name, checked });
    const image = Object.assign(document.createElement("img"), { src: portrait.url, alt: portrait.alt });
    const name = document.createElement("span");
    name.textContent = text;
    radio.addEventListener("change", () => this.onChosen(portrait));
    label.append(radio, image, name);
    this.element.append(label);
    if (checked) this.onChosen(portrait);
  }
}
