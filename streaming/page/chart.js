// Milliseconds over the last minute, as a line of SVG. Knows numbers; knows nothing of what they measure.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [300, 56];
const NUM_POINTS = 60;

function make(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export class Chart {
  #values = [];

  /**
   * Draws into the SVG `element`; `scale` shows the range. `low` and `high`: what is always shown; `band`: two values,
   * what lies between is good.
   */
  constructor(element, scale, { name, low, high, band }) {
    Object.assign(this, { element, scale, name, low, high, band });
    element.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    element.setAttribute("preserveAspectRatio", "none");
    element.setAttribute("role", "img");
    this.area = make("rect", { class: "band", x: 0, width: WIDTH, y: 0, height: 0 });
    this.line = make("path", { class: "line", d: "" });
    element.append(this.area, this.line);
    this.clear();
  }

  /** The next value, one a second; null leaves a gap. */
  add(value) {
    this.#values.push(value);
    if (this.#values.length > NUM_POINTS) this.#values.shift();
    this.#draw();
  }

  clear() {
    this.#values = [];
    this.#draw();
  }

  #draw() {
    const known = this.#values.filter((value) => value !== null);
    const low = Math.min(this.low, ...known);
    const high = Math.max(this.high, ...known);
    const y = (value) => 3 + ((HEIGHT - 6) * (high - value)) / (high - low);
    this.area.setAttribute("y", y(this.band[1]));
    this.area.setAttribute("height", y(this.band[0]) - y(this.band[1]));
    this.line.setAttribute("d", path(this.#values, y));
    this.element.setAttribute("aria-label", this.#summary(known));
    this.scale.textContent = `${signed(low)} to ${signed(high)} ms, last minute`;
  }

  #summary(known) {
    if (!known.length) return `${this.name}: nothing measured yet`;
    const [low, high] = [Math.min(...known), Math.max(...known)].map(Math.round);
    return `${this.name} over the last minute: ${low} to ${high} milliseconds, now ${Math.round(known.at(-1))}`;
  }
}

const signed = (value) => String(Math.round(value)).replace("-", "−");

function path(values, y) {
  const step = WIDTH / (NUM_POINTS - 1);
  let drawing = false;
  const parts = values.map((value, index) => {
    const command = drawing ? "L" : "M";
    drawing = value !== null;
    return drawing ? `${command}${(WIDTH - (values.length - 1 - index) * step).toFixed(1)} ${y(value).toFixed(1)}` : "";
  });
  return parts.join("");
}
