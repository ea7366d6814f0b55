"""What is in the image, and what must not be in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from appliance.seal_switches import SWITCHES
from tests.image.conftest import Docker
from tests.results import note

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

HOME = "/opt/earshot"
# Uncompressed, without the embedded models, in bytes.
BUDGET = {"cpu": 1_200_000_000, "cuda": 4_000_000_000}
BUILDS = {
    "as", "c++", "cc", "clang", "cmake", "cpp", "g++", "gcc", "go", "ld", "make", "ninja", "node",
    "npm", "nvcc", "pip", "pip3", "ptxas", "rustc", "uv",
}  # fmt: skip
SEALED = (
    "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    mode: str
    owner: int
    size: int
    path: PurePosixPath


@dataclass(frozen=True)
class Content:
    kind: str
    tag: str
    config: dict[str, Any]
    size: int
    entries: list[Entry]

    @property
    def paths(self) -> list[str]:
        return [str(entry.path) for entry in self.entries]

    def under(self, folder: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.path.is_relative_to(folder)]


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def content(request: pytest.FixtureRequest, docker: Docker) -> Content:
    tag: str = request.getfixturevalue(f"{request.param}_image")
    listing = docker(
        "run", *SEALED, "--user", "0", "--cap-add", "DAC_READ_SEARCH", "--entrypoint", "find", tag,
        "/", "-xdev", "-printf", "%M %U %s %p\\n",
    ).stdout  # fmt: skip
    entries = []
    for line in listing.splitlines():
        mode, owner, size, path = line.split(" ", 3)
        entries.append(Entry(mode, int(owner), int(size), PurePosixPath(path)))
    about = json.loads(docker("image", "inspect", tag).stdout)[0]
    return Content(request.param, tag, about["Config"], about["Size"], entries)


def python(docker: Docker, content: Content, code: str) -> str:
    """What a few lines print inside, as the program's user, with nothing to write to and no network."""
    done = docker(
        "run", *SEALED, "--entrypoint", f"{HOME}/.venv/bin/python", content.tag, "-P", "-c", code
    )
    return done.stdout.strip()


def test_the_size_is_within_budget(content: Content) -> None:
    models = sum(entry.size for entry in content.under(f"{HOME}/.cache/models"))
    assert 300_000_000 < models < 500_000_000
    note("image size", kind=content.kind, megabytes=round((content.size - models) / 1e6))
    assert content.size - models <= BUDGET[content.kind]


def test_nothing_builds_or_installs(content: Content) -> None:
    programs = [
        entry.path.name
        for folder in ("/usr/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/sbin", f"{HOME}/.venv/bin")
        for entry in content.under(folder)
    ]  # fmt: skip
    assert "python3" in programs
    found = [
        name for name in programs if name in BUILDS or name.startswith(("x86_64-linux-gnu-", "pip3."))
    ]  # fmt: skip
    assert found == []


def test_no_torch_and_one_onnxruntime(docker: Docker, content: Content) -> None:
    names = json.loads(
        python(
            docker, content, "import importlib.metadata as m, json; "
            "print(json.dumps(sorted(d.metadata['Name'].lower() for d in m.distributions())))",
        )
    )  # fmt: skip
    assert "faster-whisper" in names
    assert not [
        name for name in names if name.startswith(("torch", "triton", "silero", "transformers"))
    ]
    assert not {"pip", "setuptools", "pytest"} & set(names)
    runtimes = [name for name in names if name.startswith("onnxruntime")]
    assert runtimes == ["onnxruntime" if content.kind == "cpu" else "onnxruntime-gpu"]
    nvidia = [name for name in names if name.startswith("nvidia-") and name != "nvidia-ml-py"]
    assert bool(nvidia) == (content.kind == "cuda")
    assert not [path for path in content.paths if "libtorch" in path]


def test_no_cache_no_test_and_nothing_of_the_build(content: Content) -> None:
    leftovers = [
        path
        for path in content.paths
        if path.endswith((".whl", ".deb", ".c", ".o", ".a", ".ts"))
        and not path.startswith(("/usr/share/src/", "/usr/lib/python3"))
    ]
    assert leftovers == []
    for folder in (
        "/cache", "/var/lib/apt/lists/lock", "/run/secrets",
        "/var/cache/apt/archives/lock", f"{HOME}/tests", f"{HOME}/bench", f"{HOME}/node_modules",
        f"{HOME}/.git", f"{HOME}/data", f"{HOME}/services/panel/web",
    ):  # fmt: skip
        assert content.under(folder) == [], folder
    # The folder and Debian's own two; what builds leaves its caches beside them.
    assert {entry.path.name for entry in content.under("/root")} <= {"root", ".bashrc", ".profile"}
    assert [path for path in content.paths if path.startswith(HOME) and "/tests/" in path] == []


def test_our_code_and_the_packages_are_compiled(content: Content) -> None:
    """Nothing can be written at run time, and compiling takes longer than starting."""
    compiled = {path for path in content.paths if path.endswith(".pyc")}
    for folder in (f"{HOME}/appliance", f"{HOME}/services", f"{HOME}/.venv/lib"):
        sources = [entry.path for entry in content.under(folder) if entry.path.suffix == ".py"]
        missing = [
            str(path)
            for path in sources
            if not any(name.startswith(f"{path.parent}/__pycache__/{path.stem}.cpython") for name in compiled)
        ] if len(sources) < 500 else []  # fmt: skip
        assert len(sources) > 20
        assert missing == []


def test_nothing_has_privileges_and_nothing_of_the_program_can_be_written(content: Content) -> None:
    raised = [e for e in content.entries if e.mode[0] == "-" and "s" in e.mode.lower()]
    assert raised == []
    ours = [str(entry.path) for entry in content.entries if entry.owner == 10001]
    assert sorted(ours) == ["/data", "/models"]
    others = [entry for entry in content.under(HOME) if entry.owner != 0]
    assert others == []
    assert [str(entry.path) for entry in content.under(HOME) if entry.mode[7] != "r"] == []
    # The links of the environment are 0777 by nature.
    open_to_all = [
        str(entry.path) for entry in content.under(HOME) if entry.mode[8] == "w" and entry.mode[0] != "l"
    ]  # fmt: skip
    assert open_to_all == []


def test_no_secret_no_key_and_no_authority_of_the_building_machine(
    docker: Docker, content: Content
) -> None:
    for path in content.paths:
        name = path.rsplit("/", 1)[-1]
        assert name not in (".env", "settings.toml", "id_rsa", "local_token", "livekit.keys"), path
        assert not name.endswith((".key", ".p12", ".age")), path
    done = docker(
        "run", *SEALED, "--entrypoint", "grep", content.tag, "-rlIs", "-e", "PRIVATE KEY-----$",
        HOME, "/etc", "/usr/local", "/home", "/root", "/var", check=False,
    )  # fmt: skip
    assert done.stdout == ""
    local = content.under("/usr/local/share/ca-certificates")
    assert [entry for entry in local if entry.mode[0] != "d"] == []
    names = {line.split("=", 1)[0] for line in content.config["Env"]}
    assert not [
        name for name in names if any(word in name for word in ("KEY", "SECRET", "TOKEN", "PASS"))
    ]
    assert not names & {"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}


def test_how_it_is_started(content: Content) -> None:
    config = content.config
    environment = dict(line.split("=", 1) for line in config["Env"])
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == [f"{HOME}/docker/entrypoint"]
    assert config["Healthcheck"]["Test"] == ["CMD", f"{HOME}/docker/healthcheck"]
    assert set(config["Volumes"]) == {"/data", "/models"}
    assert environment["APPLIANCE_DATA_DIR"] == "/data"
    assert environment["APPLIANCE_GPU"] == ("off" if content.kind == "cpu" else "required")
    # Whether the driver will do is the box's to say.
    disabled = environment.get("NVIDIA_DISABLE_REQUIRE")
    assert disabled == (None if content.kind == "cpu" else "true")
    # A pull that the owner asks for may need his proxy.
    switches = {name: value for name, value in SWITCHES.items() if name.lower() != "no_proxy"}
    assert switches == {name: environment.get(name) for name in switches}


def test_every_library_loads_read_only_without_network_or_rights(
    docker: Docker, content: Content
) -> None:
    said = python(
        docker, content,
        "import av, ctranslate2, faster_whisper, livekit.agents, livekit.rtc, llama_cpp, onnxruntime, "
        "os, piper, psycopg, soundfile; "
        "print(os.getuid(), llama_cpp.llama_supports_gpu_offload(), "
        "llama_cpp.llama_print_system_info().decode())",
    )  # fmt: skip
    user, offload, features = said.splitlines()[-1].split(" ", 2)
    # Without a driver the CUDA wheel loads, too, and says that there is nothing to offload to.
    assert (user, offload) == ("10001", "False")
    assert "AVX2 = 1" in features
    # Compiled for every processor of the last ten years, not for the one that built it.
    assert "AVX512" not in features


def test_the_list_of_contents_is_valid_and_whole(
    docker: Docker, content: Content, tmp_path: Path
) -> None:
    text = docker(
        "run", *SEALED, "--entrypoint", "cat", content.tag, "/usr/share/src/sbom.cdx.json"
    ).stdout
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    listed = {item["bom-ref"].rsplit("@", 1)[0]: item for item in json.loads(text)["components"]}
    for name in (
        "pkg:golang/github.com/livekit/livekit-server", "pkg:golang/github.com/caddyserver/caddy/v2",
        "pkg:golang/std", "pkg:npm/livekit-client", "pkg:npm/htmx.org", "pkg:pypi/piper-tts",
        "pkg:pypi/llama-cpp-python", "model:whisper-base", "model:smollm2-135m-instruct",
    ):  # fmt: skip
        assert name in listed, name
    assert "pkg:npm/typescript" not in listed
    assert any(name.startswith("pkg:deb/") and name.endswith("/libc6") for name in listed)
    installed = json.loads(
        python(
            docker, content, "import importlib.metadata as m, json; "
            "print(json.dumps([d.metadata['Name'].lower().replace('_', '-') for d in m.distributions()]))",
        )
    )  # fmt: skip
    assert [name for name in installed if f"pkg:pypi/{name}" not in listed] == []


def test_licences_and_sources_are_there(content: Content) -> None:
    sources = {entry.path.name for entry in content.under("/usr/share/src/sources")}
    for stem in (
        "piper_tts-1.8.0",
        "espeak-ng_1.52.0",
        "libsndfile_",
        "soxr-",
        "psycopg-",
        "zeroconf-",
    ):
        assert any(name.startswith(stem) for name in sources), stem
    paths = set(content.paths)
    assert f"{HOME}/NOTICE" in paths
    assert f"{HOME}/services/tts/LICENSE" in paths
    assert "/usr/share/src/README" in paths
    assert any(
        path.startswith("/usr/share/src/licences/go/github.com/livekit/livekit-server@")
        for path in paths
    )
    assert any(path.startswith("/usr/share/src/licences/npm/livekit-client@") for path in paths)
    assert any(path.endswith("MODEL_LICENSE") for path in paths)
