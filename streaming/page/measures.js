// What the browser measures about a connection, read once a second. Knows getStats; knows nothing of the page.

/** Reads `RTCPeerConnection.getStats` again and again; delays are means over the time since the reading before. */
export class Measures {
  #before = { delay: 0, count: 0 };

  constructor(connection) {
    this.connection = connection;
  }

  /**
   * Milliseconds, or null where the browser does not tell: `network` (there and back), `buffer` (how long sound waits
   * before it is played), `skew` (how far sound is ahead of the picture; behind it is negative). `frames`: shown so
   * far; `bytes`: of media received; `relayed`: whether by way of a TURN server.
   */
  async read() {
    const reports = [...(await this.connection.getStats()).values()];
    const received = (kind) => reports.find((report) => report.type === "inbound-rtp" && report.kind === kind) ?? {};
    const [audio, video] = [received("audio"), received("video")];
    const pair = chosenPair(reports);
    return {
      network: pair?.currentRoundTripTime === undefined ? null : 1000 * pair.currentRoundTripTime,
      buffer: this.#buffer(audio),
      skew: skew(audio, video),
      frames: video.framesDecoded ?? 0,
      bytes: (audio.bytesReceived ?? 0) + (video.bytesReceived ?? 0),
      relayed: reports.find((report) => report.id === pair?.localCandidateId)?.candidateType === "relay",
    };
  }

  #buffer({ jitterBufferDelay: delay, jitterBufferEmittedCount: count }) {
    if (delay === undefined || count === undefined) return null;
    const { delay: delayBefore, count: countBefore } = this.#before;
    this.#before = { delay, count };
    return count > countBefore ? (1000 * (delay - delayBefore)) / (count - countBefore) : null;
  }
}

function chosenPair(reports) {
  const transport = reports.find((report) => report.type === "transport" && report.selectedCandidatePairId);
  return reports.find((report) => (transport ? report.id === transport.selectedCandidatePairId : report.type === "candidate-pair" && report.nominated));
}

/** Times of what is played right now, on the sender's clock; unknown until its first reports have come. */
function skew({ estimatedPlayoutTimestamp: audio }, { estimatedPlayoutTimestamp: video }) {
  const apart = audio && video ? audio - video : null;
  return apart !== null && Math.abs(apart) < 5000 ? apart : null;
}
