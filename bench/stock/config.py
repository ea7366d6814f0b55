"""What the stock agent is told: where everything is, and who it shall be."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from appliance.personas import Persona

AGENT_NAME = "stock"
READY = "stock agent is ready"
BUSY = "stock agent is busy"


class Config(BaseModel):
    """Handed over in a file for its owner alone, as it holds the media server's secret."""

    model_config = ConfigDict(frozen=True)
    livekit_url: str
    api_key: str
    api_secret: str
    whisper: str
    """Folder of the CTranslate2 model."""
    device: str
    compute_type: str
    """Where Whisper computes and in which numbers: as the box does."""
    voice: str
    """The voice's .onnx, its .onnx.json beside it."""
    llm_url: str
    """Ends in ``/v1``."""
    rooms: int
    health_port: int
    persona: Persona
