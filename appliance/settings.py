"""Every setting, and the only place that reads the environment.

Defaults in ``Settings`` < ``settings.toml`` in the data folder < ``APPLIANCE_*`` environment.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from appliance.errors import BadSettings
from appliance.seal_switches import SWITCHES, THREADS, UNSET
from appliance.setting_groups import (
    ALIASES,
    LONGEST_DRAIN_S,
    AccessSettings,
    AgentSettings,
    BackupSettings,
    FrontSettings,
    Group,
    LiveKitSettings,
    LlmSettings,
    SttSettings,
    TtsSettings,
)

PROJECT_DIR = Path(__file__).resolve().parent.parent
SEAL_LIBRARY = PROJECT_DIR / ".cache" / "lib" / "earshot-seal.so"
# A unix socket's path holds 107 bytes; the longest name in the run folder must still fit.
_LONGEST_RUN_DIR = 90
# Not TMPDIR: every command has to find the same folder, whatever shell it runs in.
_SHARED_PLACE = Path("/tmp")  # noqa: S108

# What the owner's shell had before the seal: a pull may need the proxy that calls must not use.
_before_seal: dict[str, str] = {}


def seal_environment() -> None:
    """Switch off everything that would reach outside. First line of every ``__main__``."""
    if not _before_seal:
        _before_seal.update(os.environ)
    os.environ.update(SWITCHES | THREADS)
    for name in UNSET:
        os.environ.pop(name, None)


def sealed_environment() -> dict[str, str]:
    """A copy of the environment with the same switches, for a child process.

    The child also gets native/seal.c preloaded, which refuses public addresses.
    """
    kept = {k: v for k, v in os.environ.items() if k not in UNSET}
    preload = {"LD_PRELOAD": str(SEAL_LIBRARY)} if SEAL_LIBRARY.is_file() else {}
    return {**kept, **SWITCHES, **THREADS, **preload}


def unsealed_environment() -> dict[str, str]:
    """The environment as it was before the seal: for ``pull``'s child alone."""
    before = _before_seal or dict(os.environ)
    offline = {*SWITCHES, "LD_PRELOAD"} - {"ORT_DISABLE_TELEMETRY", "NO_PROXY", "no_proxy"}
    return {k: v for k, v in before.items() if k not in offline}


def trust_only(authority: Path) -> None:
    """Let the libraries of this process with a TLS of their own trust this PEM file and no other."""
    os.environ["SSL_CERT_FILE"] = str(authority)


class Settings(BaseSettings):
    """All settings of the box. Built once in each ``__main__`` by ``load_settings``."""

    model_config = SettingsConfigDict(
        env_prefix="APPLIANCE_", env_nested_delimiter="__", env_ignore_empty=True,
        extra="forbid", validate_default=False,
    )  # fmt: skip

    data_dir: Path = Field(
        PROJECT_DIR / "data", description="Folder of the database, secrets, models and logs."
    )
    models_dir: Path | None = Field(
        None, description="Folder of pulled and own models; unset: models in the data folder."
    )
    builtin_models_dir: Path = Field(
        PROJECT_DIR / ".cache" / "models", description="Folder of the embedded models, read only."
    )
    programs_dir: Path = Field(
        PROJECT_DIR / ".cache" / "bin", description="Folder of livekit-server and caddy."
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="Address of a Postgres database, with its password; empty: SQLite in the data folder.",
        examples=["postgresql://earshot:password@db/earshot"],
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged."
    )
    persona: str = Field("default", description="Persona of a call that names none.")
    gpu: Literal["auto", "required", "off"] = Field(
        "auto",
        description="auto: used if there is one; required: without one no model is started, and the "
        "panel says why; off: never used.",
    )
    public_url: str = Field(
        "", pattern=r"^(|https?://[^/\s]+)$",
        description="Address at which a server with a certificate before the box is reached; in join links. "
        "Empty: the LAN door's address if it is open, else http://localhost and the port.",
        examples=["https://earshot.example.lan:8443"],
    )  # fmt: skip
    front: FrontSettings = Field(default_factory=FrontSettings)
    access: AccessSettings = Field(default_factory=AccessSettings)
    livekit: LiveKitSettings = Field(default_factory=LiveKitSettings)
    agent: AgentSettings = Field(default_factory=AgentSettings)
    stt: SttSettings = Field(default_factory=SttSettings)
    llm: LlmSettings = Field(default_factory=LlmSettings)
    tts: TtsSettings = Field(default_factory=TtsSettings)
    backup: BackupSettings = Field(default_factory=BackupSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments and environment over the file; no .env and no secrets folder."""
        file = TomlConfigSettingsSource(settings_cls, _toml_path())
        return (init_settings, env_settings, file)

    @property
    def settings_file(self) -> Path:
        """The owner's settings.toml."""
        return self.data_dir / "settings.toml"

    @property
    def models_path(self) -> Path:
        """Folder of pulled and own models."""
        return self.models_dir or self.data_dir / "models"

    @property
    def secrets_dir(self) -> Path:
        """Folder of generated keys, 0700."""
        return self.data_dir / "secrets"

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.data_dir / 'appliance.db'}"

    @property
    def run_dir(self) -> Path:
        """Folder of sockets and rendered configuration, short enough for a unix socket's path."""
        plain = self.data_dir / "run"
        if len(os.fsencode(plain)) <= _LONGEST_RUN_DIR:
            return plain
        name = "earshot-" + sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        return Path(os.environ.get("XDG_RUNTIME_DIR") or self._shared_run_dir) / name

    @property
    def _shared_run_dir(self) -> Path:
        """Where a login session has no folder of its own."""
        return _SHARED_PLACE / f"earshot-{os.getuid()}"

    @property
    def exposed_run_dirs(self) -> list[Path]:
        """Run folders where somebody else may have been first, the outer one before the inner."""
        if self.run_dir.parent == self.data_dir:
            return []
        outer = [self._shared_run_dir] if self.run_dir.parent == self._shared_run_dir else []
        return [*outer, self.run_dir]

    def socket(self, program: str) -> Path:
        """Unix socket of a program: panel, stt, llm, tts, agent, the front doors, supervisor."""
        return self.run_dir / f"{program}.sock"

    @property
    def livekit_url(self) -> str:
        """Where the programs reach LiveKit's websocket."""
        return self.livekit.url or f"ws://127.0.0.1:{self.livekit.port}"

    @property
    def livekit_http_url(self) -> str:
        """Where the programs reach LiveKit's HTTP API."""
        return "http" + self.livekit_url.removeprefix("ws")

    @property
    def front_url(self) -> str:
        """The page's address on this machine."""
        return f"http://localhost:{self.front.http_port}"

    @property
    def persona_dirs(self) -> list[Path]:
        """Folders searched for personas, the owner's first."""
        return [self.data_dir / "personas", PROJECT_DIR / "config" / "personas"]


def load_settings() -> Settings:
    """Read defaults, settings.toml and the environment.

    Raises:
        BadSettings: a name is unknown or a value impossible; says which, where and what is near.
    """
    _refuse_unknown_environment()
    path = _toml_path()
    # The library passes over whatever is no file, and the box would run with other settings.
    if os.path.lexists(path) and not path.is_file():
        raise _unreadable(path)
    try:
        values: dict[str, Any] = {"data_dir": path.parent}
        _apply_aliases(values)
        settings = Settings(**values)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(
            "settings_unreadable",
            f"{path} is not valid TOML: {error}.",
            "Mend that line or remove the file.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path) from error
    except ValidationError as error:
        raise explain(error.errors()[0], path) from error
    except ValueError as error:
        # Python reads no number of more than 4,300 digits.
        raise BadSettings(
            "settings_unreadable", f"{path} has a number that is far too long.",
            "Mend that line or remove the file.",
        ) from error  # fmt: skip
    return settings.model_copy(
        update={
            name: value.expanduser().absolute()
            for name in ("data_dir", "models_dir", "builtin_models_dir", "programs_dir")
            if (value := getattr(settings, name)) is not None
        }
    )


def least_settings() -> Settings:
    """Settings that know the data folder and otherwise the defaults; settings.toml is not read.

    Raises:
        BadSettings: the environment has an unknown name.
    """
    _refuse_unknown_environment()
    # The box may have been started with any drain; waiting too short would cut its calls.
    return Settings.model_construct(
        data_dir=_toml_path().parent, agent=AgentSettings(drain_s=LONGEST_DRAIN_S)
    )


def _unreadable(path: Path) -> BadSettings:
    """Which of the two is at fault: a file's status needs its folder's permission alone."""
    try:
        path.lstat()
    except OSError:
        return BadSettings(
            "data_folder_unusable", f"The data folder {path.parent} cannot be entered.",
            "Check its owner and its permissions, or set APPLIANCE_DATA_DIR to a folder that you own.",
        )  # fmt: skip
    return BadSettings(
        "settings_unreadable", f"{path} cannot be read.", "Check its owner and that it is UTF-8."
    )


def _toml_path() -> Path:
    folder = os.environ.get(_own_variable("data_dir"))
    return (
        Path(folder).expanduser() if folder else PROJECT_DIR / "data"
    ).absolute() / "settings.toml"


def _apply_aliases(values: dict[str, Any]) -> None:
    """Put each alias that is set, and whose own name is not, into ``values``."""
    for alias, dotted in ALIASES.items():
        if not os.environ.get(alias) or _own_variable(dotted):
            continue
        *groups, leaf = dotted.split(".")
        target = values
        for group in groups:
            target = target.setdefault(group, {})
        target[leaf] = os.environ[alias]


def environment_name(dotted: str) -> str:
    """The environment variable, of ours or of the ecosystem, that gives this setting; empty if none."""
    aliases = (alias for alias, name in ALIASES.items() if name == dotted and os.environ.get(alias))
    return _own_variable(dotted) or next(aliases, "")


def _own_variable(dotted: str) -> str:
    """The environment variable that gives this setting; empty if none does.

    Written in capitals or not, as pydantic-settings reads it; an empty one gives nothing.
    """
    name = "APPLIANCE_" + dotted.upper().replace(".", "__")
    return next((v for v, value in os.environ.items() if value and v.upper() == name), "")


def setting_names() -> list[str]:
    """Every setting as a dotted name, e.g. ``stt.model``."""
    return [name for name, _field in setting_fields()]


def setting_fields() -> list[tuple[str, Any]]:
    """Every setting's dotted name with its pydantic field, in the order of the groups."""
    found: list[tuple[str, Any]] = []
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, Group):
            found += [(f"{name}.{inner}", f) for inner, f in group.model_fields.items()]
        else:
            found.append((name, field))
    return found


def _nearest(name: str) -> str:
    names = [*setting_names(), *Settings.model_fields]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else "docs/configuration.md lists every name."


def _refuse_unknown_environment() -> None:
    known = set(setting_names())
    for variable in os.environ:
        if not variable.upper().startswith("APPLIANCE_"):
            continue
        dotted = variable.lower().removeprefix("appliance_").replace("__", ".")
        if dotted not in known:
            near = difflib.get_close_matches(dotted, sorted(known), n=1, cutoff=0.5)
            own = "APPLIANCE_" + near[0].upper().replace(".", "__") if near else ""
            raise BadSettings(
                "setting_unknown", f"There is no setting {variable} (environment).",
                f"Did you mean {own}?" if own else "docs/configuration.md lists every name.",
            )  # fmt: skip


def explain(first: Mapping[str, Any], path: Path | None = None) -> BadSettings:
    """One wrong setting in a sentence: name, value, and where it came from; no path: just given."""
    dotted = ".".join(str(part) for part in first["loc"])
    where = _where(dotted, path) if path else "given value"
    if first["type"] == "extra_forbidden":
        return BadSettings(
            "setting_unknown", f"There is no setting {dotted!r} ({where}).", _nearest(dotted)
        )
    secret = any(f.annotation is SecretStr for name, f in setting_fields() if name in dotted)
    shown = "" if secret else f" {first['input']!r}"
    said = first["msg"]
    if first["type"] == "string_pattern_mismatch":
        field = dict(setting_fields())[".".join(str(part) for part in first["loc"][:2])]
        said = f"it is not of the form of e.g. {field.examples[0]}"
    return BadSettings(
        "setting_invalid", f"The setting {dotted!r} ({where}) cannot be{shown}: {said}.",
        "docs/configuration.md says what it may be.",
    )  # fmt: skip


def _where(dotted: str, path: Path) -> str:
    if variable := environment_name(dotted):
        return f"environment variable {variable}"
    if not path.is_file():
        return "given value"
    group, _, leaf = dotted.rpartition(".")
    section = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.split("#")[0].strip()
        if text.startswith("["):
            section = text.strip("[] ")
        key = text.split("=")[0].strip()
        if (section == group and key == leaf) or (not section and key in (dotted, group)):
            return f"{path}, line {number}"
        if section == dotted and text.startswith("["):
            return f"{path}, line {number}"
    return str(path)
