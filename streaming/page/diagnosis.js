// Which part of a connection works and which does not, in words, from plain facts. No page, no network, no clock.
//
// Facts, all of them optional:
//   webrtc, secure       whether the browser can do WebRTC, and gives this page a microphone
//   server               "answers" or "silent"
//   model                {name} once it is ready; modelError: the server's words when it is not
//   state                idle, preparing, connecting, live or ended; seconds: how long so
//   reason               {code, message} of the end
//   microphone           unasked, on, off, or why there is none: insecure, refused, missing, busy, failed
//   iceServers           what the server told; relays: relay addresses that were found; candidateErrors: [{url, code}]
//   ice                  iceConnectionState; searched: whether all own addresses are known; relayed: whether in use
//   connected            whether media ever flowed; stillS: seconds since the last new frame; bytes: received
//   load                 the engine's real-time factor; fps: fresh frames a second
//
// A mark is ok, wait, warn, fail or none (nothing to say yet).

import { NoMicrophone } from "./microphone.js";

const SLOW_START_S = 20;
const SLOW_SEARCH_S = 4;
const STILL_S = 4;
const MIN_FPS = 15;

const ok = (text) => ({ mark: "ok", text });
const wait = (text) => ({ mark: "wait", text });
const none = (text) => ({ mark: "none", text });
const warn = (text, remedy) => ({ mark: "warn", text, remedy });
const fail = (text, remedy) => ({ mark: "fail", text, remedy });

/** The steps from the browser to the picture, in order, each with a mark, what is so, and what to do about it. */
export function diagnose(facts) {
  return [
    ["Browser", browser],
    ["Server", server],
    ["Model", model],
    ["Network path", path],
    ["Relay", relay],
    ["Picture and sound", media],
    ["Microphone", microphone],
  ].map(([name, step]) => ({ name, ...step(facts) }));
}

/** One sentence about all steps: the first that fails, else the first that warns, else how it stands. */
export function verdict(steps) {
  const bad = steps.find(({ mark }) => mark === "fail") ?? steps.find(({ mark }) => mark === "warn");
  if (bad) return { mark: bad.mark, text: `${bad.name}: ${bad.text[0].toLowerCase()}${bad.text.slice(1)}` };
  if (steps.some(({ mark }) => mark === "wait")) return { mark: "wait", text: "Still checking" };
  return { mark: "ok", text: steps.find(({ name }) => name === "Picture and sound").mark === "ok" ? "All is well" : "Ready" };
}

function browser({ webrtc }) {
  if (webrtc === undefined) return none("Not checked yet");
  return webrtc ? ok("Can receive live video") : fail("Cannot receive live video", "Use a current Chrome, Edge, Firefox or Safari, and allow WebRTC in its settings.");
}

function server({ server: answers, reason }) {
  if (answers === "silent" || reason?.code === "unreachable") {
    return fail("Does not answer", "Check that avacast serve is still running, that the address is right, and press Check again.");
  }
  return answers === "answers" ? ok("Answers") : none("Not checked yet");
}

const ENDS = {
  unavailable: "All places may be in use: wait until another viewer has left, or raise --max-sessions.",
  idle: "Nothing was said for a long time. Press Start for a new session.",
  going_away: "Start the server again, then press Start.",
  internal: "Press Start again; the server's log says more.",
};
const NOT_THE_MODEL = new Set(["unreachable", "ice_failed", "setup_timeout", "viewer_gone", "stopped"]);

function model({ server: answers, model: ready, modelError, state, seconds = 0, reason, load = 0, fps }) {
  if (answers === "silent") return none("Not known while the server is away");
  if (state === "ended" && reason && !NOT_THE_MODEL.has(reason.code)) {
    return fail(`Ended: ${reason.message}`, ENDS[reason.code] ?? "Press Start again; the server's log says more.");
  }
  if (modelError) return fail(modelError, "The model may still be loading: wait a moment and press Check again.");
  if (state === "preparing" && seconds > SLOW_START_S) {
    return warn("Has been preparing the avatar for a long time", "A first start may compile for minutes; the server's log shows its progress.");
  }
  if (state === "preparing") return wait("Prepares the avatar");
  if (state === "live" && (load > 1 || (seconds > 5 && fps < MIN_FPS))) {
    return warn("Is overloaded and makes too few pictures", "Close other programs on the server, lower --max-sessions, or use a faster machine.");
  }
  return ready ? ok(`Ready: ${ready.name}`) : none("Not checked yet");
}

function path({ server: answers, ice, state, seconds = 0, connected, relayed, reason, iceServers = [] }) {
  const remedy = hasRelay(iceServers)
    ? "Allow UDP to the server in the firewall; the relay below may say why it could not help."
    : "Allow UDP between here and the server, or start the server with a relay: --ice-server turn:HOST:3478.";
  if (answers === "silent") return none("Not known while the server is away");
  if (connected && (ice === "disconnected" || ice === "failed" || reason?.code === "ice_failed")) {
    return fail("The connection was lost", "Check the network, then press Start again.");
  }
  if (ice === "failed" || reason?.code === "ice_failed" || (reason?.code === "setup_timeout" && !connected)) {
    return fail("No way through the network was found", remedy);
  }
  if (ice === "connected" || ice === "completed") return ok(relayed ? "Found, by way of the relay" : "Found, direct");
  if (state === "connecting" && seconds > SLOW_SEARCH_S) return warn("No way through the network was found so far", remedy);
  return ice === "checking" || state === "connecting" ? wait("Looks for a way") : none("Looked for after Start");
}

function hasRelay(iceServers) {
  return iceServers.some(({ urls }) => [urls].flat().some((url) => /^turns?:/.test(url)));
}

function relay({ iceServers, relays = 0, searched, candidateErrors = [], relayed, server: answers }) {
  if (!iceServers || answers === "silent") return none("Not checked yet");
  if (!hasRelay(iceServers)) return none("None is set up; on most home and office networks none is needed");
  if (relayed) return ok("Carries the picture");
  if (relays) return ok("Answers");
  const error = candidateErrors.find(({ url }) => /^turns?:/.test(url ?? ""));
  if (error?.code === 401) return fail("Refused the user name or password", "Correct --ice-username and --ice-credential of the server.");
  if (error) return warn(`Does not answer (${error.url})`, "Check its address, that it runs, and that the firewall lets this browser reach it.");
  return searched ? warn("Gave no address", "Check that the relay runs and allows this network.") : wait("Asks the relay for an address");
}

function media({ state, connected, stillS = 0, bytes = 0, fps }) {
  if (state !== "live" && !connected) return none("Comes after Start");
  if (state === "live" && stillS > STILL_S) {
    if (fps === 0) return fail("The model makes no pictures", "See what the step Model says.");
    return bytes
      ? fail("Arrives but cannot be shown", "Reload the page; if it stays so, try another browser.")
      : fail("Nothing arrives", "A firewall may let the set-up pass and hold back the media: allow UDP, or use a relay.");
  }
  return state === "live" && connected ? ok("Arrives") : state === "live" ? wait("Waits for the first picture") : none("Comes after Start");
}

function microphone({ microphone: state = "unasked" }) {
  const texts = { unasked: none("Not asked for; typing works without it"), off: none("Off"), on: ok("Is heard") };
  if (state in texts) return texts[state];
  const [text, ...remedy] = NoMicrophone.TEXTS[state].split("; ");
  const sentence = (words) => words && `${words[0].toUpperCase()}${words.slice(1)}`;
  return fail(sentence(text), remedy.length ? `${sentence(remedy.join("; "))}.` : "Open the page on 127.0.0.1, or serve it over HTTPS.");
}
