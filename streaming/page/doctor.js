// The connection doctor: gathers facts, asks `diagnosis` what they mean, and shows the steps with their marks.

import { diagnose, verdict } from "./diagnosis.js";
import { request } from "./http.js";
import { iceServers } from "./session.js";

const MAX_SEARCH_MS = 4000;
const MARKS = { ok: ["✓", "fine"], wait: ["…", "checking"], warn: ["!", "warning"], fail: ["✕", "problem"], none: ["–", "not checked"] };

export class Doctor {
  /** Shows itself in `details`, which opens by itself when something begins to fail; `announcement` is read out. */
  constructor(details, announcement) {
    this.details = details;
    this.announcement = announcement;
    this.steps = details.querySelector("ol");
    this.verdict = details.querySelector(".verdict");
    this.facts = { webrtc: "RTCPeerConnection" in window, secure: Boolean(navigator.mediaDevices), state: "idle" };
    this.failing = "";
    this.#show();
  }

  /** Takes new facts into account. */
  note(facts) {
    Object.assign(this.facts, facts);
    this.#show();
  }

  /** What was true of the last session only. */
  forgetSession() {
    for (const fact of ["reason", "ice", "connected", "stillS", "bytes", "load", "fps", "relayed", "seconds"]) delete this.facts[fact];
  }

  /** Asks the server, the model and the relays anew. */
  async check() {
    this.note({ candidateErrors: [], relays: 0, searched: false, modelError: undefined, server: undefined, ...(this.facts.state === "ended" && { state: "idle", reason: undefined }) });
    try {
      await request("GET", "/live");
      this.note({ server: "answers" });
    } catch (error) {
      this.note({ server: error.code === "unreachable" ? "silent" : "answers" });
      return;
    }
    await Promise.all([this.#askModel(), this.#askRelays()]);
  }

  async #askModel() {
    try {
      const { model, ...rest } = await request("GET", "/ready");
      this.note({ model: { name: model, ...rest } });
    } catch (error) {
      this.note({ model: undefined, modelError: error.message });
    }
  }

  /** Looks for own addresses without a session, which is how a relay shows whether it works. */
  async #askRelays() {
    const servers = await iceServers();
    this.note({ iceServers: servers });
    if (!servers.length || !this.facts.webrtc) return;
    const connection = new RTCPeerConnection({ iceServers: servers });
    connection.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate?.type === "relay") this.note({ relays: this.facts.relays + 1 });
    });
    connection.addEventListener("icecandidateerror", ({ url, errorCode }) => {
      this.note({ candidateErrors: [...this.facts.candidateErrors, { url, code: errorCode }] });
    });
    connection.addTransceiver("audio");
    const gathered = new Promise((done) => {
      connection.addEventListener("icegatheringstatechange", () => connection.iceGatheringState === "complete" && done());
      setTimeout(done, MAX_SEARCH_MS);
    });
    await connection.setLocalDescription();
    await gathered;
    connection.close();
    this.note({ searched: true });
  }

  #show() {
    const steps = diagnose(this.facts);
    const { mark, text } = verdict(steps);
    if (this.verdict.textContent !== text) this.verdict.textContent = text;
    this.details.dataset.mark = mark;
    const drawn = JSON.stringify(steps);
    if (drawn !== this.drawn) this.steps.replaceChildren(...steps.map(itemOf));
    this.drawn = drawn;
    const failing = steps.filter((step) => step.mark === "fail").map(({ name }) => name).join();
    if (failing && failing !== this.failing) this.details.open = true;
    if (failing !== this.failing) this.announcement.textContent = failing && text;
    this.failing = failing;
  }
}

function itemOf({ name, mark, text, remedy }) {
  const item = document.createElement("li");
  item.dataset.mark = mark;
  item.dataset.step = name;
  const [sign, words] = MARKS[mark];
  item.append(
    element("span", sign, { className: "mark", ariaHidden: "true" }),
    element("strong", name),
    element("span", ` (${words}) `, { className: "visually-hidden" }),
    element("span", text, { className: "finding" }),
  );
  if (remedy) item.append(element("span", remedy, { className: "remedy" }));
  return item;
}

function element(name, textContent, properties = {}) {
  return Object.assign(document.createElement(name), { textContent, ...properties });
}
