"""What waits for a card, run on the processor with tiny models: the models load, the script keeps figures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize

from appliance.catalogue.fit import GIB
from appliance.catalogue.reading import read_shape
from bench import synthetic_gguf, synthetic_whisper

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_the_script_runs_through_on_the_processor_and_keeps_its_figures(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "bench/gpu.sh", "--tiny", "--out", tmp_path, "llm", "stt"],
        text=True, capture_output=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    kept = {path.name.split("-")[1]: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    llm, stt = kept["llm"], kept["stt"]
    assert llm["same_words"]["tokens"] == 32
    assert llm["same_words"]["is_same"]
    runs = [(one["slots"], one["chosen_in_graph"]) for one in llm["speed"]]
    assert runs == [(1, 0), (1, 1000), (4, 0), (4, 1000)]
    assert all(one["tokens_per_s_median"] > 0 for one in llm["speed"])
    assert {kind["compute_type"]: kind["is_right"] for kind in stt["kinds"]} == {
        "float32": True, "int8": True,
    }  # fmt: skip
    shapes = {(one["frames"], one["batch"]) for one in stt["kinds"][0]["times"]}
    assert shapes == {(frames, batch) for frames in (800, 1200, 3000) for batch in (1, 2)}


@pytest.mark.timeout(300)
def test_a_card_that_is_expected_and_missing_fails_the_run(tmp_path: Path) -> None:
    model = synthetic_gguf.make(tmp_path / "tiny.gguf", synthetic_gguf.SHAPES["tiny"])
    done = subprocess.run(
        [
            ROOT / ".venv/bin/python", "-m", "bench.gpu_llm", "--model", model, "--out", tmp_path,
            "--slots", "1", "--context", "256", "--prompt", "16", "--decode", "2", "--rounds", "1",
        ],
        cwd=ROOT, text=True, capture_output=True, timeout=120, check=False,
        env={"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "layers on the card: none" in done.stdout


def test_a_made_language_model_has_the_numbers_of_its_form(tmp_path: Path) -> None:
    form = synthetic_gguf.SHAPES["tiny"]
    file = synthetic_gguf.make(tmp_path / "tiny.gguf", form)
    shape = read_shape("llm", {"model": file})
    assert (shape.layers, shape.width, shape.vocabulary) == (2, 256, 512)
    assert shape.kv_per_token == form.layers * form.kv_heads * 64 * 2 * 2
    for tensor in gguf.GGUFReader(file).tensors:
        if tensor.name.endswith("norm.weight"):
            continue
        values = dequantize(tensor.data, tensor.tensor_type)
        columns = values.shape[-1]
        # Sums over a row then stay about as large as what is summed.
        assert np.abs(values.mean()) < 0.2 / np.sqrt(columns)
        assert 0.7 < values.std() * np.sqrt(columns) < 1.4, tensor.name


def test_a_model_for_a_card_of_24_gb_is_of_its_size() -> None:
    form = synthetic_gguf.SHAPES["8b"]
    head = form.width // form.heads
    layer = form.width * (2 * form.width + 2 * form.kv_heads * head + 3 * form.inner)
    fine = form.width * (form.kv_heads * head + form.inner) / 2
    q4, q6 = 144 / 256, 210 / 256
    size = form.layers * ((layer - fine) * q4 + fine * q6)
    size += form.vocabulary * form.width * (q4 + q6)
    assert 4.4 < size / GIB < 4.8


def test_a_made_whisper_knows_the_tokens_that_the_models_have() -> None:
    tokens = synthetic_whisper.vocabulary()
    assert len(tokens) == len(set(tokens)) == 51_866
    assert tokens.index("<|endoftext|>") == 50_257
    assert tokens.index("<|notimestamps|>") == 50_364


def test_what_travels_is_pinned() -> None:
    script = (ROOT / "bench/gpu.sh").read_text()
    found = re.search(r"^PACKED=\((.*?)\)", script, re.DOTALL | re.MULTILINE)
    assert found
    lock = (ROOT / "requirements-dev.lock").read_text()
    names = found[1].split()
    assert len(names) > 20
    assert [name for name in names if f"\n{name}==" not in "\n" + lock] == []


def test_cudas_libraries_travel_pinned_for_a_machine_that_has_the_driver_alone(
    tmp_path: Path,
) -> None:
    clone = tmp_path / "clone"
    for name in ("bench/gpu.sh", "scripts/lib.sh", "scripts/cuda.sh"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    for lock in ROOT.glob("requirements*.lock"):
        shutil.copy(lock, clone)
    # It stands in for pip, which would download.
    python = clone / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" >asked\n')
    python.chmod(0o755)
    subprocess.run([clone / "bench/gpu.sh", "--pack", tmp_path / "out", "3.12"], check=True)
    listed = tmp_path / "out/packages.txt"
    assert f"-r {listed}" in (clone / "asked").read_text()
    pins = re.findall(
        r"^(nvidia-cu\S+)==[\d.]+ \\\n +--hash=sha256:", listed.read_text(), re.MULTILINE
    )
    # For Whisper of CUDA 12, for the language model of CUDA 13.
    assert sorted(pins) == [
        "nvidia-cublas", "nvidia-cublas-cu12", "nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12",
    ]  # fmt: skip
