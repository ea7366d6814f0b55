"""The ear: Whisper behind the OpenAI transcription API, on a unix socket."""
