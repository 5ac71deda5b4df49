// One live session: its place on the server, the connection that carries it, and the events it tells. Knows the
// server's HTTP interface (streaming/server.py) and WebRTC; knows nothing of the page.

import { request } from "./http.js";

const [MAX_TRIES, RETRY_MS] = [3, 700];
const [MAX_GOODBYES, GOODBYE_MS] = [50, 100];

/** The server's STUN and TURN servers, in the shape of RTCIceServer; most servers need none. */
export async function iceServers() {
  try {
    return await request("GET", "/v1/ice-servers");
  } catch (error) {
    if (error.code === "not_found") return [];
    throw error;
  }
}

export class Session {
  /**
   * `told` has a function for each thing that happens: `stream(MediaStream)`, `status(event)`, `caption(event)`,
   * `captionEnd(event)`, `ice(session)` when the search for a way to the server moves on, and `ended(reason)`, once,
   * unless `close` was called. A reason has a code and a message.
   */
  constructor(told) {
    this.told = told;
    this.id = null;
    this.iceServers = [];
    this.candidateErrors = [];
    this.closed = false;
  }

  /** Begins; resolves when the offer has been answered. Throws RequestFailed. */
  async open(portrait, bargeIn) {
    this.iceServers = await iceServers();
    ({ id: this.id } = await request("POST", "/api/sessions", { portrait, barge_in: bargeIn }));
    if (this.closed) {
      this.#forget();
      return;
    }
    this.connection = this.#connect();
    this.#listen();
    await this.connection.setLocalDescription();
    const { type, sdp } = this.connection.localDescription;
    const answer = await request("POST", `/api/sessions/${this.id}/offer`, { type, sdp });
    if (!this.closed) await this.connection.setRemoteDescription(answer);
  }

  /** Speaks a text; resolves to about how long it is, in seconds. */
  async say(text) {
    return (await request("POST", `/api/sessions/${this.id}/say`, { text })).duration_s;
  }

  /** Silences the avatar at once. */
  interrupt() {
    return request("POST", `/api/sessions/${this.id}/clear`);
  }

  /** Whether the avatar falls silent by itself when somebody begins to speak. */
  bargeIn(enabled) {
    return request("PUT", `/v1/sessions/${this.id}/barge-in`, { enabled });
  }

  /** Says the rest of what was interrupted; resolves to how long it is, in seconds. */
  async resume() {
    return (await request("POST", `/v1/sessions/${this.id}/resume`)).duration_s;
  }

  /** Sends this track as the microphone; null: none. */
  async sendMicrophone(track) {
    await this.audioSender?.replaceTrack(track).catch((error) => {
      if (!this.closed) throw error;
    });
  }

  /** Resolves when the server has taken the closed session down, and its place is free. */
  async gone() {
    for (let tries = 0; tries < MAX_GOODBYES; tries += 1) {
      const is = await fetch(`/api/sessions/${this.id}`, { method: "DELETE" }).catch(() => null);
      if (is?.status !== 204) return;
      await new Promise((done) => setTimeout(done, GOODBYE_MS));
    }
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.connection?.close();
    this.events?.close();
    if (this.id) this.#forget();
  }

  #forget() {
    // Also when the page goes away; the session may have ended already.
    fetch(`/api/sessions/${this.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
  }

  #connect() {
    const connection = new RTCPeerConnection({ iceServers: this.iceServers });
    const stream = new MediaStream();
    connection.addEventListener("track", ({ track }) => {
      stream.addTrack(track);
      this.told.stream(stream);
    });
    connection.addEventListener("icecandidateerror", ({ url, errorCode, errorText }) => {
      this.candidateErrors.push({ url, code: errorCode, text: errorText });
      this.told.ice(this);
    });
    connection.addEventListener("iceconnectionstatechange", () => this.told.ice(this));
    connection.addEventListener("connectionstatechange", () => {
      if (connection.connectionState === "failed") this.#end({ code: "ice_failed", message: "the connection was lost" });
    });
    // Both ways from the start, so that the microphone can join later without another offer.
    this.audioSender = connection.addTransceiver("audio", { direction: "sendrecv" }).sender;
    connection.addTransceiver("video", { direction: "recvonly" });
    return connection;
  }

  /** Picture and sound may outlive the events: a proxy or a change of networks ends these, and they are asked for again. */
  #listen(tries = 0) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.events = new WebSocket(`${scheme}://${location.host}/api/sessions/${this.id}/events`);
    const kinds = { status: "status", caption: "caption", caption_end: "captionEnd" };
    this.events.addEventListener("message", ({ data }) => {
      const event = JSON.parse(data);
      tries = 0;
      if (this.closed) return;
      if (event.type === "error") this.#end(event.error);
      else if (event.state === "ended") this.#end(event.reason ?? { code: "ended", message: "no reason given" });
      else if (event.type in kinds) this.told[kinds[event.type]](event);
    });
    this.events.addEventListener("close", () => {
      if (tries === MAX_TRIES) this.#end({ code: "unreachable", message: "the server has gone" });
      else setTimeout(() => this.closed || this.#listen(tries + 1), RETRY_MS);
    });
  }

  #end(reason) {
    if (this.closed) return;
    this.close();
    this.told.ended(reason);
  }
}
