"""What `session_page` runs within the page: JavaScript that opens a session, speaks to it and writes down what comes.

Knows the server's interface and the browser's; everything it writes down is explained in `session_page.Noted`.
"""

from __future__ import annotations

MAX_OPEN_MS = 20_000

# All times are performance.now(), milliseconds. Pixels of the box and all sound are kept until `collect`.
SCRIPT = """
const MAX_OPEN_MS = %d;
window.bench = {
  log: [], frames: [], pixels: [], chunks: [], sound: [], stats: [],
  note(name, more = {}) { this.log.push({name, at: performance.now(), ...more}); },
  async ask(method, path, body) {
    const init = body === undefined ? {method} :
      {method, body: JSON.stringify(body), headers: {"Content-Type": "application/json"}};
    const answer = await fetch(path, init);
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? null : answer.json();
  },
  async open(portrait, box) {
    this.note("click");
    this.id = (await this.ask("POST", "/api/sessions", {portrait})).id;
    const peer = this.peer = new RTCPeerConnection();
    const video = this.video = document.createElement("video");
    Object.assign(video, {autoplay: true, playsInline: true});
    const stream = video.srcObject = new MediaStream();
    document.body.replaceChildren(video);
    peer.addEventListener("track", ({track}) => {
      stream.addTrack(track);
      if (track.kind === "audio") this.listen(track);
    });
    peer.addEventListener("connectionstatechange", () => this.note(peer.connectionState));
    this.sender = peer.addTransceiver("audio", {direction: "sendrecv"}).sender;
    peer.addTransceiver("video", {direction: "recvonly"});
    const first = new Promise((done) => this.watch(box, done));
    await peer.setLocalDescription();
    this.note("offer");
    const {type, sdp} = peer.localDescription;
    await peer.setRemoteDescription(await this.ask("POST", `/api/sessions/${this.id}/offer`, {type, sdp}));
    const late = new Promise((done) => setTimeout(done, MAX_OPEN_MS, "late"));
    if (await Promise.race([first, late]) === "late") {
      throw new Error(`no picture within ${MAX_OPEN_MS} ms; ${JSON.stringify(this.log)}`);
    }
    this.polling = setInterval(() => this.poll(), 500);
  },
  watch([top, left, bottom, right], done) {
    const [width, height] = [right - left, bottom - top];
    const canvas = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
    const video = this.video;
    const step = (now, frame) => {
      if (this.video !== video) return;
      if (done) { this.note("picture"); done(); done = null; }
      video.requestVideoFrameCallback(step);
      this.frames.push(frame.expectedDisplayTime);
      canvas.drawImage(video, left, top, width, height, 0, 0, width, height);
      this.pixels.push(canvas.getImageData(0, 0, width, height).data);
    };
    video.requestVideoFrameCallback(step);
  },
  async listen(track) {
    this.heard = track;
    const reader = new MediaStreamTrackProcessor({track, maxBufferSize: 500}).readable.getReader();
    for (;;) {
      const {value: data, done} = await reader.read();
      if (done || this.heard !== track) return;
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, {planeIndex: 0, format: "f32-planar"});
      this.chunks.push([performance.now(), data.numberOfFrames, data.sampleRate]);
      this.sound.push(samples);
      data.close();
    }
  },
  async poll() {
    if (this.peer.connectionState !== "connected") return;
    const sample = {at: performance.now()};
    for (const report of (await this.peer.getStats()).values()) {
      if (report.type === "inbound-rtp") sample[report.kind] = report;
    }
    this.stats.push(sample);
  },
  async speak(pcm, rate, name) {
    if (!this.socket) {
      this.socket = new WebSocket(`ws://${location.host}/v1/sessions/${this.id}/audio`);
      await new Promise((done) => this.socket.addEventListener("open", done));
      this.socket.addEventListener("message", ({data}) => {
        const {type, ...more} = JSON.parse(data);
        this.note(type, more);
      });
    }
    const bytes = Uint8Array.from(atob(pcm), (char) => char.charCodeAt(0));
    this.note("speak");
    this.socket.send(JSON.stringify({type: "start", sample_rate: rate, utterance_id: name}));
    for (let from = 0; from < bytes.length; from += 16384) this.socket.send(bytes.slice(from, from + 16384));
    this.socket.send(JSON.stringify({type: "flush"}));
  },
  async clear() {
    this.note("clear");
    this.note("clear_answered", await this.ask("POST", `/v1/sessions/${this.id}/clear`));
  },
  async talk(pcm, rate) {
    const bytes = Uint8Array.from(atob(pcm), (char) => char.charCodeAt(0));
    const context = new AudioContext({sampleRate: 48000});
    await context.resume();
    const samples = Float32Array.from(new Int16Array(bytes.buffer), (value) => value / 32768);
    const buffer = new AudioBuffer({length: samples.length, sampleRate: rate});
    buffer.copyToChannel(samples, 0);
    const target = context.createMediaStreamDestination();
    await this.sender.replaceTrack(target.stream.getAudioTracks()[0]);
    const source = new AudioBufferSourceNode(context, {buffer});
    source.connect(target);
    const wait = 2;
    source.start(context.currentTime + wait);
    this.note("talk", {begins: performance.now() + 1000 * wait});
    source.addEventListener("ended", async () => { await this.sender.replaceTrack(null); await context.close(); });
  },
  async join(parts) {
    const url = await new Promise((done) => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result);
      reader.readAsDataURL(new Blob(parts));
    });
    return url.slice(url.indexOf(",") + 1);
  },
  async collect() {
    const {log, frames, pixels, chunks, sound, stats, video} = this;
    Object.assign(this, {log: [], frames: [], pixels: [], chunks: [], sound: [], stats: []});
    const size = [video.videoHeight, video.videoWidth];
    return {log, frames, chunks, stats, size, pixels: await this.join(pixels), sound: await this.join(sound)};
  },
  async close() {
    clearInterval(this.polling);
    this.video = this.heard = null;
    this.socket?.close();
    this.socket = null;
    this.peer.close();
    await this.ask("DELETE", `/api/sessions/${this.id}`);
  },
};
""".replace("%d", str(MAX_OPEN_MS), 1)
