# What set-up does for an NVIDIA card: scripts/setup and bench/gpu.sh source it, after scripts/lib.sh.
# shellcheck shell=bash disable=SC2154,SC2034

# What the card that is here computes, as CMake writes it (89); empty: llama.cpp is for the processor.
CARD=
CARD_NAME=
attempted=0
# CUDA 12, which CTranslate2 is made for, and CUDA 13, whose compiler comes as Python packages.
WHISPER_DRIVER=525
LLAMA_DRIVER=580
LLAMA_CAPABILITY=75
CARD_MB=6000
CARD_FAILED=llama-card-failed

cuda_flags() { # architectures
  # Without virtual memory management it imports on a machine without a driver, too, and says so.
  printf '%s' "-DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=$1 -DGGML_CUDA_NO_VMM=ON -DGGML_CUDA_NCCL=OFF"
}

cuda_libraries() { # whisper or llama: the pinned packages that it opens on a card
  case $1 in
    whisper) locked requirements-cuda.lock nvidia-cublas-cu12 nvidia-cuda-runtime-cu12 ;;
    llama) locked requirements-cuda-wheels.lock nvidia-cublas nvidia-cuda-runtime ;;
  esac
}

use_cuda_wheels() { # a CUDA 13 compiler from the Python package index; its code needs driver 580
  local to=$PWD/.cache/tools/cuda name
  if ! [ -d "$to" ]; then
    rm -rf "$to.new"
    "${PIP[@]}" install --quiet --no-deps --only-binary :all: --require-hashes --target "$to.new" \
      -r requirements-cuda-wheels.lock
    to=$to.new/nvidia/cu13
    ln -s lib "$to/lib64"
    for name in cudart cublas cublasLt; do ln -s "lib$name.so.13" "$to/lib/lib$name.so"; done
    mv .cache/tools/cuda.new .cache/tools/cuda
  fi
  export CUDA_HOME=$PWD/.cache/tools/cuda/nvidia/cu13
  export PATH=$CUDA_HOME/bin:$PATH
}

# ---- a machine's own card --------------------------------------------------------------------

gpu_wish() { # the setting: auto, required or off
  .venv/bin/python -P -c 'from appliance.settings import load_settings
print(load_settings().gpu)' 2>/dev/null || echo auto
}

look_at_card() { # sets CARD; what stays on the processor is said, and why
  local said driver capability free
  CARD=
  command -v nvidia-smi >/dev/null || return 0
  # A driver that hangs keeps nobody from what runs on the processor.
  said=$(timeout 20 nvidia-smi -i 0 --query-gpu=driver_version,compute_cap,name --format=csv,noheader \
    2>/dev/null) || return 0
  IFS=, read -r driver capability CARD_NAME <<<"$said"
  driver=${driver%%.*} capability=${capability//[ .]/} CARD_NAME=${CARD_NAME# }
  [[ $driver =~ ^[0-9]+$ && $capability =~ ^[0-9]+$ ]] || return 0
  [ "$(gpu_wish)" != off ] || return 0
  if [ "$driver" -lt $WHISPER_DRIVER ]; then
    card_note Everything "its driver $driver is older than $WHISPER_DRIVER"
    return
  fi
  set_up_card_libraries whisper "CUDA 12's library for Whisper on this $CARD_NAME, 0.6 GB"
  [ "$attempted" = 0 ] || card_note Whisper "a library could not be fetched"
  if [ "$driver" -lt $LLAMA_DRIVER ]; then
    card_note "The language model" "its driver $driver is older than $LLAMA_DRIVER"
  elif [ "$capability" -lt $LLAMA_CAPABILITY ]; then
    card_note "The language model" "CUDA 13 has no code for it"
  else
    CARD=$capability
    free=$(free_mb .)
    if ! [ -d "$(llama_wheel)" ] && [ "$free" -lt $CARD_MB ]; then
      card_note "The language model" "compiling for it needs 6 GB of disk, and $free MB are free here"
      CARD=
    fi
  fi
}

card_note() { # who, why
  printf '%-9s %s\n' card "$1 runs on the processor, not on this $CARD_NAME: $2 (docs/gpu.md)."
}

attempt() { # a step that may fail; sets attempted to its exit code
  # Nothing that looks at the code may stand around it: bash would then go on after a failure inside.
  set +e
  (step "$@")
  attempted=$?
  set -e
}

install_card_libraries() { # whisper or llama
  local list=.cache/cuda-$1.txt
  cuda_libraries "$1" >"$list"
  "${PIP[@]}" install --progress-bar off --no-deps --only-binary :all: --require-hashes -r "$list"
}

set_up_card_libraries() { # whisper or llama, what it is; sets attempted
  local wanted
  wanted=$(cuda_libraries "$1" | sha256sum)
  attempted=0
  if fresh "cuda-$1" "$wanted"; then return; fi
  attempt "cuda-$1" "$2" install_card_libraries "$1"
  if [ "$attempted" = 0 ]; then stamp "cuda-$1" "$wanted"; fi
}

card_minutes() { # the two builds that were timed took 2,150 processor seconds
  echo $((2150 / $(nproc) / 60 + 3))
}

card_jobs() { # compilations at once: half a gigabyte each
  local cores fits
  cores=$(nproc)
  fits=$(awk '/^MemAvailable/ { print int($2 / 500000) + 1 }' /proc/meminfo)
  echo $((fits < cores ? fits : cores))
}

build_llama_for_card() { # folder of the wheel
  CMAKE_BUILD_PARALLEL_LEVEL=$(card_jobs)
  export CMAKE_BUILD_PARALLEL_LEVEL
  build_llama "$1.new"
  "${PIP[@]}" install --no-deps --no-index --force-reinstall "$1.new"/*.whl
  # One that does not find the card would leave the language model on the processor unseen.
  .venv/bin/python -P -c 'import sys
from appliance.cuda import LLAMA, preload
if missing := preload(LLAMA): sys.exit(f"{missing} cannot be loaded")
import llama_cpp
sys.exit(0 if llama_cpp.llama_supports_gpu_offload() else "llama.cpp finds no card")'
  mv "$1.new" "$1"
}

set_up_llama_for_card() { # where that fails, CARD is emptied, and llama.cpp is for the processor
  local folder name
  [ -n "$CARD" ] || return 0
  folder=$(llama_wheel)
  name=${folder##*/}
  if [ "$(cat ".cache/stamps/$CARD_FAILED" 2>/dev/null)" = "$name" ]; then
    card_failed
    return
  fi
  set_up_card_libraries llama "CUDA 13's libraries for llama.cpp, 0.5 GB"
  if [ "$attempted" != 0 ]; then
    card_note "The language model" "a library could not be fetched"
    CARD=
    return
  fi
  [ ! -d "$folder" ] || return 0
  rm -f .cache/stamps/llama-installed
  attempt cuda "llama.cpp is compiled for this $CARD_NAME, once: about $(card_minutes) minutes on $(nproc) cores" \
    build_llama_for_card "$folder"
  [ "$attempted" != 0 ] || return 0
  rm -rf "$folder.new"
  stamp "$CARD_FAILED" "$name"
  card_failed
}

card_failed() {
  card_note "The language model" "compiling for it failed, see .cache/logs/cuda.log"
  printf '%-9s %s\n' "" "To try again: rm .cache/stamps/$CARD_FAILED, then scripts/setup."
  CARD=
}
