#!/usr/bin/env bash
# What Earshot has to show on a machine with an NVIDIA card; it needs no network there.
#   bench/gpu.sh [--wheels FOLDER] [--models FOLDER] [--out FOLDER] [--tiny] [llm] [stt] [call]
# Without a name: llm and stt, and call if a box runs here. Results: bench/results/gpu-*.json, or --out.
#   --wheels   Python wheels to put before what is installed: llama.cpp for this card, CTranslate2, …
#   --models   folders and files to take instead of made ones: *.gguf, and Whispers in CTranslate2's format
#   --tiny     tiny models and a few rounds, on the processor: that the script itself works
#   bench/gpu.sh --pack FOLDER VERSION   on a machine with a network, beforehand: the wheels for a Python
#              VERSION (3.12) there, CUDA's libraries among them (the other side needs the driver alone),
#              without llama.cpp, which scripts/setup or scripts/image compiles
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
# shellcheck source=scripts/cuda.sh
. scripts/cuda.sh

# What the two benches import beside llama.cpp; small, but for the first.
PACKED=(ctranslate2 pyyaml numpy structlog pydantic pydantic-core pydantic-settings annotated-types
  typing-extensions typing-inspection python-dotenv fastapi starlette anyio idna sniffio annotated-doc
  python-multipart uvicorn click h11 prometheus-client psutil nvidia-ml-py gguf tqdm jinja2 markupsafe
  diskcache opentelemetry-api)

pack() { # folder, Python's version
  local python=python3 package
  [ ! -x .venv/bin/python ] || python=.venv/bin/python
  mkdir -p "$1"
  for package in "${PACKED[@]}"; do locked requirements-dev.lock "$package"; done >"$1/packages.txt"
  # Over a gigabyte: what CTranslate2 and llama.cpp open there (appliance/cuda.py), as in the services.
  for package in whisper llama; do cuda_libraries "$package"; done >>"$1/packages.txt"
  "$python" -m pip download --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --python-version "$2" --implementation cp --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --dest "$1" -r "$1/packages.txt"
  echo "Put llama.cpp's wheel beside them ($1), then take this folder and the project along."
}

wheels='' models='' out=$PWD/bench/results tiny='' chosen=()
while [ $# -gt 0 ]; do
  case $1 in
    --pack)
      [ $# = 3 ] || die "usage: bench/gpu.sh --pack FOLDER PYTHON-VERSION"
      pack "$2" "$3"
      exit
      ;;
    --wheels | --models | --out)
      [ $# -ge 2 ] || die "$1 needs a folder."
      declare "${1#--}=$(readlink -m "$2")"
      shift
      ;;
    --tiny) tiny=yes ;;
    llm | stt | call) chosen+=("$1") ;;
    *) die "usage: bench/gpu.sh [--wheels FOLDER] [--models FOLDER] [--out FOLDER] [--tiny] [llm] [stt] [call]" ;;
  esac
  shift
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=python3
[ ! -x .venv/bin/python ] || python=$PWD/.venv/bin/python
export PYTHONPATH=$PWD
# As NVIDIA's own read-outs count them.
export CUDA_DEVICE_ORDER=PCI_BUS_ID
if [ -n "$wheels" ]; then
  "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile \
    --target "$work/site" "$wheels"/*.whl
  PYTHONPATH=$work/site:$PYTHONPATH
fi
if command -v nvidia-smi >/dev/null; then nvidia-smi || true; fi

running() { [ -x .venv/bin/python ] && scripts/appliance status >/dev/null 2>&1; }
if [ ${#chosen[@]} = 0 ]; then
  chosen=(llm stt)
  if running; then chosen+=(call); fi
fi

failed=()
try() { # name, command
  echo "== $1"
  "${@:2}" || failed+=("$1")
}

made_gguf() { # shape
  [ -e "$work/$1.gguf" ] || "$python" -m bench.synthetic_gguf "$1" "$work/$1.gguf"
}

run_llm() {
  local file more=(--out "$out") found=()
  [ -z "$models" ] || mapfile -t found < <(find "$models" -name '*.gguf' | sort)
  if [ -n "$tiny" ]; then
    made_gguf tiny
    more+=(--processor --slots "1,4" --context 512 --prompt 64 --decode 8 --rounds 1)
    try "llm tiny" "$python" -m bench.gpu_llm --model "$work/tiny.gguf" "${more[@]}"
    return
  fi
  # A large one takes the processor minutes for the words that the card's are compared with.
  made_gguf small
  more+=(--sanity-model "$work/small.gguf")
  if [ ${#found[@]} = 0 ]; then
    made_gguf 8b
    found=("$work/8b.gguf")
  fi
  for file in "${found[@]}"; do
    try "llm $(basename "$file")" "$python" -m bench.gpu_llm --model "$file" "${more[@]}"
    try "llm $(basename "$file"), cache in q8_0" \
      "$python" -m bench.gpu_llm --model "$file" "${more[@]}" --kv q8_0 --slots 4,16
  done
}

cublas_12() { # CTranslate2 wants cuBLAS 12; where only 13 is, that one answers to its name, and it is said
  local found
  note=
  "$python" -c 'import sys; from appliance.cuda import WHISPER, preload; sys.exit(bool(preload(WHISPER)))' && return
  mkdir -p "$work/cublas"
  for found in cublas cublasLt; do
    found=$("$python" -c 'import importlib.util as u, pathlib, sys
roots = getattr(u.find_spec("nvidia"), "submodule_search_locations", None) or []
print(next((p for r in roots for p in pathlib.Path(r).glob("*/lib/" + sys.argv[1])), ""))' "lib$found.so.13")
    [ -n "$found" ] || return 0
    ln -s "$found" "$work/cublas/$(basename "$found" .so.13).so.12"
  done
  export LD_LIBRARY_PATH=$work/cublas${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  note="cuBLAS 13 stands in for 12"
}

run_stt() {
  local folder more=(--out "$out") found=() note
  [ -z "$models" ] || mapfile -t found < <(find "$models" -name model.bin -printf '%h\n' | sort)
  if [ -n "$tiny" ]; then
    "$python" -m bench.synthetic_whisper tiny "$work/whisper-tiny"
    more+=(--device cpu --compute "float32,int8" --batches "1,2" --rounds 1)
    try "stt tiny" "$python" -m bench.gpu_stt --model "$work/whisper-tiny" "${more[@]}"
    return
  fi
  cublas_12
  if [ ${#found[@]} = 0 ]; then
    "$python" -m bench.synthetic_whisper turbo "$work/whisper-turbo"
    found=("$work/whisper-turbo")
  fi
  for folder in "${found[@]}"; do
    try "stt $(basename "$folder")" "$python" -m bench.gpu_stt --model "$folder" --note "$note" "${more[@]}"
  done
}

run_call() {
  running || die "No box runs here: scripts/run --detach, then this again."
  try call "$python" bench/call_latency.py --calls 5 --note "on a card: $(nvidia-smi -L 2>/dev/null | head -n 1)"
}

for name in "${chosen[@]}"; do "run_$name"; done
[ ${#failed[@]} = 0 ] || die "Not as it should be: ${failed[*]}. The figures that there are lie in $out."
echo "All as it should be; the figures lie in $out."
