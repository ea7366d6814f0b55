/** Opens the caller's microphone and keeps what is said while the call connects. */

import { createLocalAudioTrack, type LocalAudioTrack } from "livekit-client";
import { CallProblem, INSECURE, microphoneProblem } from "./problems";

/** Ask for the microphone. @throws CallProblem with a sentence for people. */
export async function openMicrophone(): Promise<LocalAudioTrack> {
  if (!window.isSecureContext || !navigator.mediaDevices) throw new CallProblem(INSECURE);
  try {
    const track = await createLocalAudioTrack({
      echoCancellation: true,
      noiseSuppression: true,
      autoGainControl: true,
    });
    // publishDefaults.preConnectBuffer acts only where the room opens the microphone itself.
    if (typeof MediaRecorder !== "undefined") track.startPreConnectBuffer();
    return track;
  } catch (error) {
    throw new CallProblem(microphoneProblem(error));
  }
}
