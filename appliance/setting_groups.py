"""The groups of settings: each field carries its unit, meaning and, where it helps, an example."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

LONGEST_DRAIN_S = 120
# Names that people who know the ecosystem will type.
ALIASES = {
    "LIVEKIT_URL": "livekit.url",
    "LIVEKIT_API_KEY": "livekit.api_key",
    "LIVEKIT_API_SECRET": "livekit.api_secret",
    "LIVEKIT_ROOM_NAME": "livekit.room_name",
    "LIVEKIT_TOKEN_TTL": "livekit.token_ttl_s",
    "WHISPER_MODEL": "stt.model",
    "WHISPER_DEVICE": "stt.device",
    "WHISPER_COMPUTE_TYPE": "stt.compute_type",
    "WHISPER_CACHE_DIR": "models_dir",
}


class Group(BaseModel):
    """Settings that belong together; an unknown name in it is refused."""

    model_config = ConfigDict(extra="forbid")


class FrontSettings(Group):
    """The front door."""

    http_port: int = Field(
        8080, ge=1, le=65535,
        description="TCP port of the page and the API on this machine; other machines get there, if they may "
        "come in at all, how to trust the box.",
        examples=[8080],
    )  # fmt: skip
    lan: bool = Field(
        False,
        description="Whether other machines of the network may come in: the app by https, its "
        "certificate explained by http.",
    )
    https_port: int = Field(
        8443, ge=1, le=65535, description="TCP port of the page and the API for the network."
    )
    names: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]] = Field(
        default_factory=list,
        description="Further DNS names by which the network reaches the box; its own name with its domain, "
        "and the same with .local, are always known. The box's authority may then sign for each, and for "
        "what lies below it: name the box, not the domain.",
        examples=["earshot.lan"],
    )  # fmt: skip
    certificate: Path | None = Field(
        None,
        description="The owner's certificate with its chain, PEM, in the data folder if it names no other; "
        "unset: one of the box's own CA.",
        examples=["/data/tls/chain.pem"],
    )
    certificate_key: Path | None = Field(
        None,
        description="The private key of that certificate, PEM.",
        examples=["/data/tls/key.pem"],
    )
    mdns: bool = Field(
        False,
        description="Announce the box as <host name>.local by multicast DNS, which sends packets to "
        "the whole network.",
    )
    cors_origins: list[Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+$")]] = Field(
        default_factory=list,
        description="Other sites whose pages may use the API with a key; none by default.",
        examples=["http://localhost:3000"],
    )


class AccessSettings(Group):
    """Signing in, and what callers leave behind."""

    idle_s: int = Field(
        1800,
        ge=60,
        le=86400,
        description="A sign-in that is not used ends after this many seconds.",
    )
    longest_s: int = Field(
        43200, ge=300, le=2_592_000, description="Every sign-in ends after this many seconds."
    )
    keep_calls_days: int = Field(
        30, ge=0, le=3650,
        description="Ended calls and their words are deleted after this many days; 0: never.",
    )  # fmt: skip


class LiveKitSettings(Group):
    """The media server."""

    url: str = Field(
        "", pattern=r"^(|wss?://.+)$",
        description="Where the programs reach LiveKit; empty: the box's own server.",
        examples=["ws://127.0.0.1:7880"],
    )  # fmt: skip
    api_key: str = Field("", description="LiveKit API key; empty: made at first run.")
    api_secret: SecretStr = Field(
        SecretStr(""),
        description="LiveKit API secret, at least 32 characters; empty: made at first run.",
    )
    port: int = Field(
        7880, ge=1, le=65535, description="TCP port of LiveKit's HTTP API, loopback only."
    )
    tcp_port: int = Field(
        7881, ge=1, le=65535, description="TCP port for media where UDP is blocked."
    )
    udp_port: int = Field(7882, ge=1, le=65535, description="The one UDP port for media.")
    node_ip: str = Field(
        "", description="Address offered to callers for media; empty: found at each start.",
        examples=["192.168.1.20"],
    )  # fmt: skip
    token_ttl_s: int = Field(
        300, ge=30, le=86400, description="How long a token may be used to join, in seconds."
    )
    room_name: str = Field(
        "", pattern=r"^[A-Za-z0-9_.-]{0,64}$",
        description="One shared call that a token without a room name joins; empty: a call of its own.",
        examples=["lobby"],
    )  # fmt: skip


class AgentSettings(Group):
    """The voice."""

    health_port: int = Field(
        8091, ge=1, le=65535, description="TCP port of the worker's health page, loopback only."
    )
    idle_processes: int = Field(
        2,
        ge=2,
        le=16,
        description="Call processes kept warm; more callers at one moment wait for theirs to start.",
    )
    seats: int = Field(
        0, ge=0, le=64,
        description="How many calls may run at once; 0: as many as fit into memory, at most 4.",
    )  # fmt: skip
    speculate_after_s: float = Field(
        0.1,
        ge=0.05,
        le=0.25,
        description="Silence before a speculative transcript is asked for, in seconds.",
    )
    # Six windows of the voice detector, of 32 ms.
    barge_in_after_s: float = Field(
        0.19, ge=0.1, le=2.0, description="Voice that interrupts the agent, in seconds."
    )
    drain_s: int = Field(
        5,
        ge=1,
        le=LONGEST_DRAIN_S,
        description="How long a stopping worker waits for its calls, in seconds.",
    )
    max_call_s: int = Field(
        7200, ge=60, le=86400, description="Longest call, in seconds; then it ends as timed_out."
    )


class SttSettings(Group):
    """The ear: speech to text."""

    model: str = Field(
        "whisper-base",
        description="Id of the Whisper model, from the catalogue or the models folder; with stt.url, "
        "that server's name for its model.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where it runs; auto: the GPU if there is one."
    )
    compute_type: Literal[
        "auto", "int8", "int8_float16", "int8_float32", "int8_bfloat16", "int16", "float16",
        "bfloat16", "float32",
    ] = Field(
        "auto",
        description="CTranslate2 compute type; auto: int8 on a CPU, float16 on a GPU, int8_float16 where "
        "its memory is short.",
    )  # fmt: skip
    threads: int = Field(0, ge=0, le=64, description="CPU threads; 0: two, or all if fewer.")
    url: str = Field(
        "", description="An OpenAI-compatible server to use instead; empty: the box's own."
    )
    api_key: SecretStr = Field(
        SecretStr(""), description="Key for the server at stt.url; empty: it asks for none."
    )
    max_upload_mb: int = Field(200, ge=1, le=4096, description="Largest audio file, in megabytes.")
    max_audio_s: int = Field(14400, ge=10, le=86400, description="Longest audio, in seconds.")


class LlmSettings(Group):
    """The language model."""

    model: str = Field(
        "smollm2-135m-instruct",
        description="Id of the GGUF model, from the catalogue or the models folder; with llm.url, that "
        "server's name for its model.",
    )
    gpu_layers: int = Field(
        -1, ge=-1, description="Layers on the GPU; -1: all that fit, ignored without a GPU."
    )
    context_tokens: int = Field(
        4096, ge=512, le=131072, description="Context of one conversation, in tokens."
    )
    threads: int = Field(
        0, ge=0, le=64, description="CPU threads; 0: two, but one core stays free."
    )
    backend_sampling: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether the likeliest tokens are chosen in llama.cpp's graph; auto: on a GPU.",
    )
    url: str = Field(
        "", description="An OpenAI-compatible server to use instead; empty: the box's own."
    )
    api_key: SecretStr = Field(
        SecretStr(""), description="Key for the server at llm.url; empty: it asks for none."
    )
    no_thinking: bool = Field(
        True,
        description="Whether the server at llm.url is told not to think before it answers "
        "(chat_template_kwargs, as llama-server, vLLM and SGLang take it); off for one that refuses "
        "the field.",
    )


class TtsSettings(Group):
    """The voice's sound: text to speech."""

    voice: str = Field(
        "en_US-joe-medium",
        description="Id of the Piper voice, from the catalogue or the models folder; with tts.url, that "
        "server's name for its voice.",
    )
    gain: float = Field(1.0, gt=0, le=4, description="Fixed gain on the voice's samples.")
    workers: int = Field(
        2, ge=1, le=16,
        description="Processor cores the voice uses at most; more sentences than that take turns.",
    )  # fmt: skip
    cache_mb: int = Field(
        16, ge=0, le=1024,
        description="Memory for sentences that were spoken lately and may come again, in MB (16: six "
        "minutes of speech); 0: none is kept.",
    )  # fmt: skip
    url: str = Field(
        "", description="An OpenAI-compatible server to use instead; empty: the box's own."
    )
    api_key: SecretStr = Field(
        SecretStr(""), description="Key for the server at tts.url; empty: it asks for none."
    )
    model: str = Field(
        "",
        description="What the server at tts.url calls its model, e.g. kokoro; empty: the voice's name. "
        "The box's own voices need none.",
    )
    max_chars: int = Field(
        4096, ge=1, le=100_000, description="Longest text of one request, in characters."
    )


class BackupSettings(Group):
    """Copies of what the box keeps, sealed for the owner's key."""

    recipient: str = Field(
        "", pattern=r"^(|age1[a-z0-9]{58})$",
        description="age recipient to which backups are encrypted; only who has its identity can read "
        "them. Empty: no backups by night.",
        examples=["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
    )  # fmt: skip
    hour: int = Field(3, ge=0, le=23, description="Hour of the night, in the box's own time zone.")
    keep: int = Field(14, ge=1, le=365, description="How many backups are kept.")
    dir: Path | None = Field(
        None, description="Folder of the backups; unset: backups in the data folder."
    )
