// The live numbers and their charts. Knows what the server and the browser measure; knows nothing of sessions.

import { Chart } from "./chart.js";

const $ = (id) => document.getElementById(id);
const scaleOf = (chart) => chart.previousElementSibling.querySelector("span");

const NUMBERS = ["fps", "latency", "skew", "load", "repeated", "network"];

/** Sound ahead of the picture by at most 40 ms, or behind by at most 60 ms, is not noticed (after ITU-R BT.1359). */
const GOOD_SKEW_MS = [-60, 40];
const GOOD_LATENCY_MS = [0, 1000];

export class Numbers {
  #latency = new Chart($("latency-chart"), scaleOf($("latency-chart")), { name: "Latency", low: 0, high: 1000, band: GOOD_LATENCY_MS });
  #skew = new Chart($("skew-chart"), scaleOf($("skew-chart")), { name: "Sound ahead of the picture", low: -100, high: 100, band: GOOD_SKEW_MS });

  /** Shows what was measured in this second (`Measures.read`); latency is from the voice to the screen. */
  show(stats, measured, isLive) {
    const latency = stats.latency_ms + (measured.network ?? 0) / 2 + (measured.buffer ?? 0);
    $("fps").textContent = stats.fps;
    $("latency").textContent = rounded(latency);
    $("skew").textContent = rounded(measured.skew);
    $("load").textContent = rounded(100 * stats.real_time_factor);
    $("repeated").textContent = stats.repeated + stats.late;
    $("network").textContent = rounded(measured.network);
    if (!isLive) return;
    this.#latency.add(latency);
    this.#skew.add(measured.skew);
  }

  /** The latency shown, in ms; 0 while none is. */
  get latency() {
    return Number($("latency").textContent) || 0;
  }

  clear() {
    this.#latency.clear();
    this.#skew.clear();
    for (const number of NUMBERS) $(number).textContent = "–";
  }
}

const rounded = (value) => (value === null ? "–" : String(Math.round(value)).replace("-", "−"));
