// The viewer's microphone: which ones there are, the one that is on, and how loud it is.

const METER_INTERVAL_MS = 60;
const QUIETEST_DB = -60;

/** Why there is no sound from the microphone; `code` is one of insecure, refused, missing, busy, failed. */
export class NoMicrophone extends Error {
  constructor(code) {
    super(NoMicrophone.TEXTS[code]);
    this.code = code;
  }

  static TEXTS = {
    insecure: "the browser gives the microphone only to 127.0.0.1 or HTTPS pages",
    refused: "the microphone is not allowed for this page; allow it beside the page's address and try again",
    missing: "there is no microphone; plug one in and try again",
    busy: "another program keeps the microphone; close that program and try again",
    failed: "the microphone did not start; try another one",
  };
}

const CODES = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** The microphones as `[id, label]`; labels are empty until the viewer has allowed one. */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId).map(({ deviceId, label }) => [deviceId, label]);
}

export class Microphone {
  /** `onLevel(0..1)` is called often while it is on. */
  constructor(onLevel) {
    this.onLevel = onLevel;
    this.stream = null;
  }

  get on() {
    return this.stream !== null;
  }

  /** Asks for a microphone, by id or "" for the usual one; resolves to its track. Throws NoMicrophone. */
  async start(deviceId) {
    this.stop();
    if (!navigator.mediaDevices) throw new NoMicrophone("insecure");
    const audio = { echoCancellation: true, noiseSuppression: true, ...(deviceId && { deviceId: { exact: deviceId } }) };
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      throw new NoMicrophone(CODES[error.name] ?? "failed");
    }
    this.#measure();
    return this.stream.getAudioTracks()[0];
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    clearInterval(this.timer);
    this.context?.close();
    this.context = null;
    this.onLevel(0);
  }

  #measure() {
    this.context = new AudioContext();
    const analyser = new AnalyserNode(this.context, { fftSize: 1024 });
    this.context.createMediaStreamSource(this.stream).connect(analyser);
    const wave = new Float32Array(analyser.fftSize);
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(wave);
      const loudness = Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0) / wave.length);
      this.onLevel(Math.max(0, 1 - (20 * Math.log10(Math.max(loudness, 1e-6))) / QUIETEST_DB));
    }, METER_INTERVAL_MS);
  }
}
