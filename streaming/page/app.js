// The page of a live session. Knows the server's HTTP interface (streaming/server.py); keeps no state beyond one session.

const $ = (id) => document.getElementById(id);

const STATES = {
  idle: "Choose a portrait and press Start",
  preparing: "Preparing the avatar …",
  connecting: "Connecting …",
  live: "Live",
};

/** The running session: {id, connection, events, audioSender, microphone}; null when there is none. */
let session = null;
let muted = false;
/** Until when typed text is heard, on the clock of performance.now(). */
let textUntil = 0;

async function request(method, url, body, headers = {}) {
  const isJson = body !== undefined && !(body instanceof Blob);
  const response = await fetch(url, {
    method,
    headers: isJson ? { "Content-Type": "application/json", ...headers } : headers,
    body: isJson ? JSON.stringify(body) : body,
  });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error?.message ?? `the server answered ${response.status}`);
  return answer;
}

function show(state, text) {
  const element = $("state");
  if (element.dataset.state === state && element.textContent === (text ?? STATES[state])) return;
  element.dataset.state = state;
  element.textContent = text ?? STATES[state];
}

function complain(error) {
  const text = error?.message ?? String(error ?? "");
  $("message").textContent = text && text[0].toUpperCase() + text.slice(1) + ".";
}

// Portraits

function addPortrait(portrait, checked) {
  const label = document.createElement("label");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "portrait", value: portrait.name, checked });
  const image = Object.assign(document.createElement("img"), { src: portrait.url, alt: portrait.alt });
  const name = document.createElement("span");
  name.textContent = portrait.name.startsWith("upload-") ? "yours" : portrait.name;
  radio.addEventListener("change", () => choose(portrait));
  label.append(radio, image, name);
  $("gallery").append(label);
  if (checked) choose(portrait);
}

function choose(portrait) {
  const poster = $("poster");
  poster.src = portrait.url;
  poster.alt = portrait.alt;
  poster.hidden = false;
}

async function upload(file) {
  complain("");
  if (file.size > 10_000_000) throw new Error("the picture is larger than 10 MB; choose a smaller one");
  const portrait = await request("PUT", "/api/portraits", file, { "Content-Type": file.type || "image/unknown" });
  addPortrait(portrait, true);
}

// A session

async function start() {
  complain("");
  const portrait = document.querySelector("input[name=portrait]:checked")?.value;
  if (!portrait) throw new Error("choose a portrait first");
  show("preparing");
  $("start").disabled = true;
  $("portraits").disabled = true;
  const { id } = await request("POST", "/api/sessions", { portrait });
  const connection = new RTCPeerConnection();
  session = { id, connection, microphone: null };
  const stream = new MediaStream();
  connection.addEventListener("track", ({ track }) => {
    stream.addTrack(track);
    $("video").srcObject = stream;
  });
  connection.addEventListener("connectionstatechange", () => {
    if (connection.connectionState === "failed") end("failed", "The connection was lost");
  });
  // Both ways from the start, so that the microphone can join later without another offer.
  session.audioSender = connection.addTransceiver("audio", { direction: "sendrecv" }).sender;
  connection.addTransceiver("video", { direction: "recvonly" });
  listen(id);
  await connection.setLocalDescription();
  const { type, sdp } = connection.localDescription;
  await connection.setRemoteDescription(await request("POST", `/api/sessions/${id}/offer`, { type, sdp }));
  $("start").textContent = "Stop";
  for (const control of ["start", "microphone", "text", "speak"]) $(control).disabled = false;
  // On a phone the focus would raise the keyboard over the picture.
  if (matchMedia("(pointer: fine)").matches) $("text").focus();
}

function listen(id) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  session.events = new WebSocket(`${scheme}://${location.host}/api/sessions/${id}/events`);
  session.events.addEventListener("message", ({ data }) => {
    const event = JSON.parse(data);
    if (session?.id !== id || event.type !== "status") return;
    if (event.state === "ended") {
      end("failed", `Ended: ${event.reason?.message ?? "no reason given"}`);
      return;
    }
    show(event.state);
    tell(event.stats);
  });
  session.events.addEventListener("close", () => {
    if (session?.id === id) end("failed", "The server has gone");
  });
}

function tell(stats) {
  $("fps").textContent = stats.fps;
  $("latency").textContent = stats.latency_ms;
  $("load").textContent = Math.round(stats.real_time_factor * 100);
  $("repeated").textContent = stats.repeated + stats.late;
}

function end(state, text) {
  if (!session) return;
  const { id, connection, events } = session;
  stopMicrophone();
  session = null;
  connection.close();
  events?.close();
  request("DELETE", `/api/sessions/${id}`).catch(() => {}); // it may have ended already
  const video = $("video");
  video.classList.remove("showing");
  video.srcObject = null;
  for (const control of ["microphone", "text", "speak"]) $(control).disabled = true;
  for (const number of ["fps", "latency", "load", "repeated"]) $(number).textContent = "–";
  $("start").textContent = "Start";
  $("start").disabled = false;
  $("portraits").disabled = false;
  show(state, text);
}

async function toggleMicrophone() {
  complain("");
  if (session.microphone) {
    stopMicrophone();
    return;
  }
  if (!navigator.mediaDevices) throw new Error("the browser gives the microphone only to 127.0.0.1 or HTTPS pages");
  const starting = session;
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
  if (session !== starting) {
    microphone.getTracks().forEach((track) => track.stop());
    return;
  }
  session.microphone = microphone;
  await session.audioSender.replaceTrack(microphone.getAudioTracks()[0]);
  reflectSound();
}

function stopMicrophone() {
  session.microphone?.getTracks().forEach((track) => track.stop());
  session.microphone = null;
  session.audioSender?.replaceTrack(null).catch(() => {}); // the connection may be closed already
  reflectSound();
}

/** What is heard: everything, except one's own voice coming back unless that is wanted. */
function reflectSound() {
  const ownVoice = Boolean(session?.microphone) && !$("hear-yourself").checked && performance.now() > textUntil;
  $("video").muted = muted || ownVoice;
  $("microphone").setAttribute("aria-pressed", String(Boolean(session?.microphone)));
  $("mute").setAttribute("aria-pressed", String(muted));
}

async function say() {
  const text = $("text").value.trim();
  if (!text) return;
  complain("");
  const { duration_s } = await request("POST", `/api/sessions/${session.id}/say`, { text });
  $("text").value = "";
  // A typed sentence is heard also while the microphone is on, which the server leaves aside meanwhile.
  textUntil = Math.max(performance.now(), textUntil) + 1000 * duration_s + (Number($("latency").textContent) || 0);
  reflectSound();
  setTimeout(reflectSound, textUntil - performance.now() + 10);
}

// Wiring

const guarded = (action) => (...values) => Promise.resolve(action(...values)).catch(complain);

$("start").addEventListener("click", guarded(async () => {
  if (session) {
    end("idle");
    return;
  }
  try {
    await start();
  } catch (error) {
    if (session) end("idle");
    $("start").disabled = false;
    $("portraits").disabled = false;
    show("idle");
    throw error;
  }
}));
$("microphone").addEventListener("click", guarded(toggleMicrophone));
$("mute").addEventListener("click", () => { muted = !muted; reflectSound(); });
$("volume").addEventListener("input", () => { $("video").volume = Number($("volume").value); });
$("hear-yourself").addEventListener("change", reflectSound);
$("say").addEventListener("submit", guarded((event) => { event.preventDefault(); return say(); }));
$("upload").addEventListener("change", guarded(async () => {
  const [file] = $("upload").files;
  $("upload").value = "";
  if (file) await upload(file);
}));
$("video").addEventListener("playing", () => $("video").classList.add("showing"));
window.addEventListener("pagehide", () => {
  if (session) fetch(`/api/sessions/${session.id}`, { method: "DELETE", keepalive: true });
});

guarded(async () => {
  const portraits = await request("GET", "/api/portraits");
  portraits.forEach((portrait, index) => addPortrait(portrait, index === 0));
  const model = await request("GET", "/ready");
  $("model").textContent = `${model.model}, ${model.width} × ${model.height} at ${model.fps} frames per second`;
})();
