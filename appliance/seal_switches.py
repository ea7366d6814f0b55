"""What every program's environment is given, and what is taken from it; above all so that nothing reaches outside."""

from __future__ import annotations

SWITCHES = {
    # onnxruntime >= 1.29 reports to its maker unless this is set before its first import.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "OTEL_SDK_DISABLED": "true",
    "NO_PROXY": "*",
    "no_proxy": "*",
}
THREADS = {
    # NumPy's own threads spin between two products and take the processors from the models: on a
    # busy machine the mel spectrogram of a short utterance then takes eight times as long.
    "OPENBLAS_NUM_THREADS": "1",
}
UNSET = (
    # Each of these makes livekit-agents reach for its maker's cloud.
    "LIVEKIT_DEV_MODE", "LIVEKIT_REMOTE_EOT_URL", "LIVEKIT_OBSERVABILITY_URL",
    "LIVEKIT_WORKER_TOKEN", "LIVEKIT_INFERENCE_URL", "LIVEKIT_INFERENCE_API_KEY",
    "LIVEKIT_INFERENCE_API_SECRET",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy",
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT",
)  # fmt: skip
