"""What people would build otherwise, on the same machine and models: the baseline of `bench`.

livekit-agents with its own defaults, faster-whisper in one piece behind StreamAdapter,
llama-server, and Piper a sentence at a time.
"""

from __future__ import annotations

from bench.stock.starting import baseline

__all__ = ["baseline"]
