// The page of a live session: what its controls do, and what they show. One session at a time.

import { Captions } from "./captions.js";
import { Doctor } from "./doctor.js";
import { Gallery } from "./gallery.js";
import { request } from "./http.js";
import { Measures } from "./measures.js";
import { Microphone, microphones } from "./microphone.js";
import { Numbers } from "./numbers.js";
import { whenGiven } from "./picture.js";
import { Session } from "./session.js";

const $ = (id) => document.getElementById(id);

const STATES = {
  idle: "Choose a portrait and press Start",
  preparing: "Preparing the avatar …",
  connecting: "Connecting …",
  live: "Live",
};
const LIVE_CONTROLS = ["microphone", "interrupt", "text", "speak"];

/** Interrupted speech can be taken up again for five seconds; the last moment is left to the network. */
const MAX_RESUME_MS = 4700;

let session = null;
let measures = null;
let muted = false;
/** Until when typed text is heard, on the clock of performance.now(). */
let textUntil = 0;
let shown = { state: "idle", since: 0 };
let resumeTimer = 0;
let lastFrames = { count: 0, at: 0 };

const doctor = new Doctor($("doctor"), $("verdict"));
const captions = new Captions($("caption"));
const numbers = new Numbers();
const microphone = new Microphone((level) => {
  $("level").style.setProperty("--level", level.toFixed(2));
  $("level").setAttribute("aria-valuenow", Math.round(100 * level));
});
const gallery = new Gallery($("gallery"), (portrait) => {
  Object.assign($("poster"), { src: portrait.url, alt: portrait.alt, hidden: false });
  $("unfamiliar").hidden = true;
  if (session) pressed(changeFace)();
});

function complain(error) {
  const text = error?.message ?? String(error ?? "");
  $("message").textContent = text && text[0].toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
  if (text) $("message").scrollIntoView({ block: "nearest" }); // a phone may show the settings alone
}

const guarded = (action) => (...values) => Promise.resolve(action(...values)).catch(complain);

function show(state, text = STATES[state]) {
  const element = $("state");
  if (state !== shown.state) shown = { state, since: performance.now() };
  element.dataset.state = state;
  if (element.textContent !== text) element.textContent = text;
}

const secondsIn = () => (performance.now() - shown.since) / 1000;

// A session

async function start() {
  doctor.forgetSession();
  doctor.note({ state: "preparing" });
  show("preparing");
  $("start").disabled = $("portraits").disabled = true;
  $("unfamiliar").hidden = true;
  if (!gallery.chosen) await gallery.load(); // the server did not answer when the page was opened
  const starting = (session = new Session({
    stream: (stream) => { $("video").srcObject = stream; },
    status: guarded(tell),
    caption: (event) => captions.show(event),
    captionEnd: (event) => {
      captions.end(event);
      if (event.interrupted) offerResume(true); // also when somebody else did it
    },
    ice: ({ connection, candidateErrors }) => doctor.note({ ice: connection.iceConnectionState, candidateErrors }),
    ended: (reason) => {
      complain("");
      leave("failed", reason.code === "unreachable" ? "The server has gone" : `Ended: ${reason.message}`, reason);
    },
  }));
  await starting.open(gallery.chosen, $("barge-in").checked);
  if (session !== starting) return;
  measures = new Measures(starting.connection);
  lastFrames = { count: 0, at: performance.now() };
  doctor.note({ server: "answers", iceServers: starting.iceServers });
  $("start").textContent = "Stop";
  for (const control of ["start", "portraits", ...LIVE_CONTROLS]) $(control).disabled = false;
}

async function startOrComplain() {
  try {
    await start();
  } catch (error) {
    if (error.code) doctor.note({ server: error.code === "unreachable" ? "silent" : "answers" });
    leave("failed", "Could not start", { code: error.code ?? "failed", message: error.message });
    throw error;
  }
}

async function startOrStop() {
  if (session) return leave("idle");
  await startOrComplain();
  // On a phone the focus would raise the keyboard over the picture.
  if (matchMedia("(pointer: fine)").matches) $("text").focus();
}

/** Another portrait while the avatar is live: a session keeps its own, so it ends and another one begins. */
async function changeFace() {
  const [before, wasHeard, focused] = [session, microphone.on, document.activeElement];
  leave("preparing");
  $("start").disabled = $("portraits").disabled = true;
  $("state").scrollIntoView({ block: "nearest" });
  await before.gone();
  await startOrComplain();
  focused.focus({ preventScroll: true });
  if (wasHeard && session) await startMicrophone();
}

/** Takes everything of the session off the page; a reason says why it ended by itself. */
function leave(state, text, reason) {
  if (reason?.code === "unreachable") doctor.note({ server: "silent" });
  session?.close();
  microphone.stop();
  session = measures = null;
  captions.clear();
  numbers.clear();
  offerResume(false);
  $("video").classList.remove("showing");
  $("video").srcObject = null;
  document.body.classList.remove("speaking");
  for (const control of LIVE_CONTROLS) $(control).disabled = true;
  $("start").textContent = "Start";
  $("start").disabled = $("portraits").disabled = false;
  show(state, text);
  doctor.note({ state: reason ? "ended" : "idle", reason, ...(microphoneWasOn() && { microphone: "off" }) });
  reflectSound();
}

const microphoneWasOn = () => doctor.facts.microphone === "on";

/** Shows what the server says once a second, and what the browser measures with it. */
async function tell({ state, stats, familiar }) {
  const telling = session;
  show(state);
  $("unfamiliar").hidden = familiar !== false;
  document.body.classList.toggle("speaking", stats.hearing === "text");
  if (!measures) return;
  const measured = await measures.read();
  if (session !== telling) return;
  numbers.show(stats, measured, state === "live");
  if (measured.frames > lastFrames.count) lastFrames = { count: measured.frames, at: performance.now() };
  doctor.note({
    state,
    seconds: secondsIn(),
    connected: measured.frames > 0,
    stillS: state === "live" ? Math.min(secondsIn(), (performance.now() - lastFrames.at) / 1000) : 0,
    bytes: measured.bytes,
    relayed: measured.relayed,
    load: stats.real_time_factor,
    fps: stats.fps,
  });
}

// Speech out: typed, interrupted, resumed

async function say() {
  const text = $("text").value.trim();
  if (!text) return;
  const duration = await session.say(text);
  $("text").value = "";
  offerResume(false);
  hearText(duration);
}

/** A typed sentence is heard also while the microphone is on, which the server leaves aside meanwhile. */
function hearText(duration) {
  textUntil = Math.max(performance.now(), textUntil) + 1000 * duration + numbers.latency;
  reflectSound();
  setTimeout(reflectSound, textUntil - performance.now() + 10);
}

async function interrupt() {
  if (!session || $("interrupt").disabled) return;
  const { playback_position: position } = await session.interrupt();
  captions.clear();
  textUntil = 0;
  reflectSound();
  if (position > 0) offerResume(true);
}

async function resume() {
  offerResume(false);
  hearText(await session.resume());
}

/** After an interruption the button offers to go on instead, for as long as the server remembers. */
function offerResume(offered) {
  clearTimeout(resumeTimer);
  if (offered) resumeTimer = setTimeout(offerResume, MAX_RESUME_MS, false);
  const hadFocus = [$("interrupt"), $("resume")].includes(document.activeElement);
  $("resume").hidden = !offered;
  $("interrupt").hidden = offered;
  if (hadFocus) $(offered ? "resume" : "interrupt").focus();
}

// Sound in and out

async function toggleMicrophone() {
  if (microphone.on) {
    microphone.stop();
    doctor.note({ microphone: "off" });
    reflectSound();
    await session.sendMicrophone(null);
  } else {
    await startMicrophone();
  }
}

async function startMicrophone() {
  const starting = session;
  try {
    const track = await microphone.start($("device").value);
    if (session !== starting) {
      microphone.stop();
      return;
    }
    await session.sendMicrophone(track);
    doctor.note({ microphone: "on" });
  } catch (error) {
    doctor.note({ microphone: error.code ?? "failed" });
    throw error;
  } finally {
    reflectSound();
    await listMicrophones(); // their names are told only now
  }
}

async function listMicrophones() {
  const select = $("device");
  const before = select.value;
  const devices = await microphones();
  const options = devices.map(([id, label], index) => new Option(label || `Microphone ${index + 1}`, id));
  if (!devices.some(([id]) => id === "default")) options.unshift(new Option("The usual microphone", ""));
  select.replaceChildren(...options);
  if (devices.some(([id]) => id === before)) select.value = before;
}

/** What is heard: everything, except one's own voice coming back unless that is wanted. */
function reflectSound() {
  const ownVoice = microphone.on && !$("hear-yourself").checked && performance.now() > textUntil;
  $("video").muted = muted || ownVoice;
  $("microphone").setAttribute("aria-pressed", String(microphone.on));
  $("mute").setAttribute("aria-pressed", String(muted));
}

// Wiring

const pressed = (action) => guarded((...values) => { complain(""); return action(...values); });

$("start").addEventListener("click", pressed(startOrStop));
$("microphone").addEventListener("click", pressed(toggleMicrophone));
$("interrupt").addEventListener("click", pressed(interrupt));
$("resume").addEventListener("click", pressed(resume));
$("say").addEventListener("submit", pressed((event) => { event.preventDefault(); return say(); }));
$("mute").addEventListener("click", () => { muted = !muted; reflectSound(); });
$("volume").addEventListener("input", () => { $("video").volume = Number($("volume").value); });
$("hear-yourself").addEventListener("change", reflectSound);
$("barge-in").addEventListener("change", pressed(() => session?.id && session.bargeIn($("barge-in").checked)));
$("device").addEventListener("change", pressed(() => microphone.on && startMicrophone()));
$("captions").addEventListener("click", () => {
  const on = $("captions").getAttribute("aria-pressed") !== "true";
  $("captions").setAttribute("aria-pressed", String(on));
  $("caption").hidden = !on;
});
$("check").addEventListener("click", pressed(() => doctor.check()));
whenGiven($("upload"), pressed((file) => $("portraits").disabled || gallery.upload(file)));
$("video").addEventListener("playing", () => $("video").classList.add("showing"));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing && !$("interrupt").hidden) pressed(interrupt)();
});
navigator.mediaDevices?.addEventListener("devicechange", guarded(listMicrophones));
window.addEventListener("pagehide", () => session?.close());
$("start").disabled = false; // until here a press would have been lost
show("idle");

guarded(async () => {
  await Promise.all([listMicrophones(), doctor.check(), gallery.load()]);
  const model = await request("GET", "/ready");
  $("model").textContent = `${model.model}, ${model.width} × ${model.height} at ${model.fps} frames per second`;
  $("pocket").hidden = model.model !== "pocket";
  document.documentElement.style.setProperty("--aspect", `${model.width} / ${model.height}`);
})();
