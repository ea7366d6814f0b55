// Put into the page before its own code: watches what goes in and out of it, and changes nothing.
(() => {
  const seen = { violations: [], iceServers: [], loudMs: 0, connections: [] };
  window.observed = seen;
  document.addEventListener("securitypolicyviolation", (event) => {
    seen.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
  });

  const STEP_MS = 20;
  function listen(track) {
    if (track.kind !== "audio") return;
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      if (Math.sqrt(power) > 0.005) seen.loudMs += STEP_MS;
    }, STEP_MS);
  }

  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(configuration, ...more) {
      super(configuration, ...more);
      seen.iceServers.push(...(configuration?.iceServers ?? []));
      seen.connections.push(this);
      this.addEventListener("track", (event) => listen(event.track));
    }

    setConfiguration(configuration) {
      seen.iceServers.push(...(configuration?.iceServers ?? []));
      super.setConfiguration(configuration);
    }
  };

  // Every microphone that was opened; unplug() ends the newest as pulling its plug would.
  const opened = [];
  const media = navigator.mediaDevices;
  if (media) {
    const native = media.getUserMedia.bind(media);
    media.getUserMedia = async (wanted) => {
      const stream = await native(wanted);
      opened.push(...stream.getAudioTracks());
      return stream;
    };
  }
  window.unplug = () => {
    const track = opened.findLast((one) => one.readyState === "live");
    track.stop();
    track.dispatchEvent(new Event("ended"));
  };

  // What the microphone has sent so far: seconds of sound and its energy.
  window.sent = async () => {
    const total = { seconds: 0, energy: 0 };
    for (const connection of seen.connections) {
      if (connection.connectionState === "closed") continue;
      for (const report of (await connection.getStats()).values()) {
        if (report.type !== "media-source" || report.kind !== "audio") continue;
        total.seconds += report.totalSamplesDuration ?? 0;
        total.energy += report.totalAudioEnergy ?? 0;
      }
    }
    return total;
  };
})();
