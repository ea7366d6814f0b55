"""The predicted need for memory against llama.cpp's own report, and heads made to do harm."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from appliance.catalogue import Catalogue, fit
from appliance.catalogue.reading import read_shape, shape_of_installed
from appliance.catalogue.shape import Shape, shape_of_gguf
from appliance.errors import BadInput
from appliance.settings import PROJECT_DIR, Settings
from tests import ggufs
from tests.results import note

pytestmark = pytest.mark.unit

MIB = fit.MIB
_REPORT = """
import sys, pathlib, llama_cpp
from llama_cpp._logger import set_verbose
from services.llm.context import Context, Plan
from services.llm.model import Model
file, tokens, conversations = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
model = Model("it", file, gpu_layers=0)
set_verbose(True)
Context("it", model, Plan(conversations, tokens, threads=1, step_tokens=64))
print("model bytes =", llama_cpp.llama_model_size(model.handle), file=sys.stderr)
"""


def reported(file: Path, tokens: int, conversations: int = 5) -> dict[str, float]:
    """What llama.cpp says it took, in bytes: weights, kv (with recurrent state), work."""
    done = subprocess.run(
        [sys.executable, "-c", _REPORT, str(file), str(tokens), str(conversations)],
        cwd=PROJECT_DIR, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = done.stderr

    def sizes(pattern: str) -> float:
        return sum(float(found) for found in re.findall(pattern, said)) * MIB

    return {
        "weights": float(re.findall(r"model bytes = (\d+)", said)[0]),
        "kv": sizes(r"(?:KV|RS) buffer size = +([\d.]+) MiB"),
        # It is told twice: once planned, once done.
        "work": sizes(r"sched_reserve: +CPU compute buffer size = +([\d.]+) MiB")
        + sizes(r"output buffer size = +([\d.]+) MiB"),
    }


def embedded() -> Path:
    found = Catalogue(Settings()).installed("llm", "smollm2-135m-instruct")
    return found.files["model"]


@pytest.mark.parametrize("tokens", [512, 2048, 8192])
def test_the_embedded_model_needs_what_llama_cpp_reports(tokens: int) -> None:
    shape = read_shape("llm", {"model": embedded()})
    need = fit.need_of(shape, fit.Plan(context_tokens=tokens))
    report = reported(embedded(), tokens)
    off = need.total / sum(report.values()) - 1
    note(
        "fit_prediction", context_tokens=tokens, predicted_mib=need.total // MIB, off=round(off, 4)
    )
    assert need.weights == report["weights"]
    assert need.kv == pytest.approx(report["kv"], rel=0.01)
    # The attention over a long context costs nothing more where flash attention is possible, which
    # the file does not tell.
    assert report["work"] * 0.9 < need.work < report["work"] * 1.1 + 13 * MIB
    assert abs(off) < 0.10


KINDS: dict[str, Callable[[Path], Path]] = {
    "plain": ggufs.make,
    "one KV head": lambda path: ggufs.make(path, layers=7, attention__head_count_kv=1),
    "sliding window": lambda path: ggufs.make(
        path, "gemma3", layers=12, attention__key_length=32, attention__value_length=32,
        attention__sliding_window=512, rope__freq_base=10000.0,
    ),
    "recurrent": lambda path: ggufs.make(
        path, "mamba", attention__head_count=0, attention__head_count_kv=0,
        ssm__inner_size=128, ssm__state_size=256,
        ssm__conv_kernel=4, ssm__time_step_rank=4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "recurrent"])
def test_made_models_keep_what_llama_cpp_reports(kind: str, tmp_path: Path) -> None:
    file = KINDS[kind](tmp_path / "made.gguf")
    shape = read_shape("llm", {"model": file})
    need = fit.need_of(shape, fit.Plan(context_tokens=1024))
    report = reported(file, 1024)
    assert need.weights == report["weights"]
    assert need.kv == pytest.approx(report["kv"], rel=0.05)


def test_a_recurrent_model_keeps_one_state_whatever_the_context(tmp_path: Path) -> None:
    file = KINDS["recurrent"](tmp_path / "made.gguf")
    shape = read_shape("llm", {"model": file})
    assert (shape.recurrent_layers, shape.kv_per_token) == (4, 0)
    short, long = (fit.need_of(shape, fit.Plan(context_tokens=n)) for n in (512, 4096))
    assert short.kv == long.kv == pytest.approx(reported(file, 1024)["kv"], rel=0.05)


def test_layers_of_several_kinds_are_counted_each_as_it_is(tmp_path: Path) -> None:
    wide = read_shape("llm", {"model": ggufs.make(tmp_path / "plain.gguf", layers=8)})
    mixed = ggufs.make(
        tmp_path / "mixed.gguf", layers=8, full_attention_interval=4, ssm__state_size=16,
        ssm__inner_size=128, ssm__conv_kernel=4, ssm__group_count=1,
    )  # fmt: skip
    shape = read_shape("llm", {"model": mixed})
    assert shape.recurrent_layers == 6
    assert shape.kv_per_token * 4 == wide.kv_per_token
    shared = ggufs.make(tmp_path / "shared.gguf", layers=8, attention__shared_kv_layers=6)
    assert read_shape("llm", {"model": shared}).kv_per_token * 4 == wide.kv_per_token


def test_the_line_of_the_page_is_the_prediction() -> None:
    shape = Shape(
        task="llm", weights=10 * MIB, kv_per_token=4096, state=100, heads=8, width=512,
        vocabulary=50_000,
    )  # fmt: skip
    line = fit.line_of(shape)
    for tokens in (512, 4096, 131072):
        need = fit.need_of(shape, fit.Plan(context_tokens=tokens, conversations=3))
        on_page = (
            line.fixed
            + 3 * (line.state + line.kv_per_token * tokens)
            + max(line.work_least, line.work_extra + line.work_per_token * tokens)
        )
        assert need.total == on_page


def test_eighty_of_a_hundred_fit_and_a_hundred_are_tight() -> None:
    def answer(need: int) -> str:
        return fit.judge(fit.Need("ram", weights=need), 100 * MIB).answer

    assert [answer(n * MIB) for n in (80, 81, 100, 101)] == ["fits", "tight", "tight", "too_big"]
    said = fit.judge(fit.Need("vram", weights=101 * MIB), 100 * MIB).because
    assert said == (
        "Does not fit, because it needs 101 MiB of graphics memory and 100 MiB will be free."
    )


def damaged(tmp_path: Path) -> dict[str, bytes]:
    """The shapes of damage that the facts list, and some made to do harm."""
    good = ggufs.make(tmp_path / "good.gguf").read_bytes()
    huge = struct.pack("<Q", 1 << 60)
    key = b"general.architecture"
    at = good.index(key) + len(key)
    return {
        "empty": b"", "four bytes": b"GGUF", "half": good[: len(good) // 2],
        "a megabyte short": good[: -(1 << 19)], "zeros": bytes(len(good)),
        "another format": b"PK\3\4" + good[4:], "magic and junk": b"GGUF" + b"\xff" * 5000,
        "2^60 tensors": good[:8] + huge + good[16:], "2^60 keys": good[:16] + huge + good[24:],
        "version 77": good[:4] + struct.pack("<I", 77) + good[8:],
        "a value of no kind": good[:at] + struct.pack("<I", 99) + good[at + 4 :],
        "a string of 2^60 letters": good[: at + 4] + huge + good[at + 12 :],
    }  # fmt: skip


def test_a_damaged_or_hostile_head_is_told_in_one_sentence(tmp_path: Path) -> None:
    for name, raw in damaged(tmp_path).items():
        file = tmp_path / "bad.gguf"
        file.write_bytes(raw)
        with pytest.raises(BadInput) as caught:
            read_shape("llm", {"model": file})
        assert caught.value.code in ("not_gguf", "model_damaged", "model_truncated"), name
        assert "bad.gguf" in caught.value.message


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"block_count": 513}, "model_damaged"),
        ({"block_count": 0}, "model_damaged"),
        ({"embedding_length": 1 << 30}, "model_damaged"),
        ({"attention.head_count_kv": [2, 2]}, "model_damaged"),
        ({"template": ""}, "model_without_template"),
    ],
)
def test_absurd_numbers_are_refused(keys: dict[str, object], code: str, tmp_path: Path) -> None:
    made = ggufs.make(tmp_path / "made.gguf", only_keys=keys)
    with pytest.raises(BadInput) as caught:
        read_shape("llm", {"model": made})
    assert caught.value.code == code


def test_a_reader_that_would_eat_memory_is_stopped_outside_the_panel(tmp_path: Path) -> None:
    # Eight million strings of no letters: allowed by each limit, and still no great load.
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a"
    file = tmp_path / "long.gguf"
    file.write_bytes(head + struct.pack("<IIQ", 9, 8, 7_999_999) + bytes(8 * 7_999_999))
    with pytest.raises(BadInput):
        read_shape("llm", {"model": file})


def test_voices_and_ears_are_looked_at_too(tmp_path: Path) -> None:
    catalogue = Catalogue(Settings())
    voice = shape_of_installed(catalogue.find("en_US-joe-medium"))
    ear = shape_of_installed(catalogue.find("whisper-base"))
    assert (voice.architecture, ear.architecture) == ("piper", "whisper")
    files = dict(catalogue.find("en_US-joe-medium").files)
    outside = tmp_path / "voice.onnx"
    # As a tensor that names another file carries it.
    outside.write_bytes(files["model"].read_bytes() + b"\x0a\x08location\x12\x0b/etc/passwd")
    with pytest.raises(BadInput) as caught:
        read_shape("tts", {**files, "model": outside})
    assert caught.value.code == "onnx_external"
    with pytest.raises(BadInput) as caught:
        read_shape("stt", {**catalogue.find("whisper-base").files, "model": files["model"]})
    assert caught.value.code == "not_whisper"


def test_a_flipped_byte_anywhere_in_a_head_is_a_shape_or_a_sentence(tmp_path: Path) -> None:
    good = ggufs.make(tmp_path / "good.gguf").read_bytes()
    head = good.index(b"blk.0.") + 4000
    random = np.random.default_rng(11)
    seen = {"shape": 0, "sentence": 0}
    file = tmp_path / "bad.gguf"
    for _ in range(400):
        raw = bytearray(good)
        for at in random.integers(4, head, size=3):
            raw[at] = random.integers(256)
        file.write_bytes(raw)
        try:
            shape_of_gguf([file])
            seen["shape"] += 1
        except BadInput:
            seen["sentence"] += 1
    assert min(seen.values()) > 20, seen
