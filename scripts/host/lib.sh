# Shared by the commands of a machine that has Docker: bash, coreutils, docker and openssh suffice.
# shellcheck shell=bash

# The folder of the compose files: a checkout, or an unpacked bundle.
ROOT=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")

die() { # sentence, exit code (1)
  printf '%s\n' "$1" >&2
  exit "${2:-1}"
}

at_least() { # have, need: both dotted numbers
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# The last value that a file of lines name=value gives, without quotes, comment and carriage return.
value_in() { # name, what it is otherwise, file
  local line value=""
  if [ -f "$3" ]; then
    while IFS= read -r line || [ -n "$line" ]; do
      line=${line#"${line%%[![:space:]]*}"}
      line=${line#export }
      if [ "${line%%=*}" = "$1" ]; then value=${line#*=}; fi
    done <"$3"
    # As compose reads it.
    case $value in
      [\"\']*) value=${value:1} && value=${value%%[\"\']*} ;;
      *) value=${value%%[[:space:]]#*} && value=${value%"${value##*[![:space:]]}"} ;;
    esac
  fi
  printf '%s' "${value:-$2}"
}

# What this variable is for the box: in the environment, else in .env beside the compose files.
setting() { # name, what it is otherwise
  if [ -n "${!1:-}" ]; then printf '%s' "${!1}"; else value_in "$1" "$2" "$ROOT/.env"; fi
}

project_name() { setting COMPOSE_PROJECT_NAME earshot; }
data_volume() { printf '%s-data' "$(project_name)"; }
models_volume() { printf '%s-models' "$(project_name)"; }

# docker compose with the files, and the .env, of this box.
compose() { (cd "$ROOT" && exec docker compose "$@"); }

# The image that the compose files name.
box_image() { compose config --images earshot | head -n 1; }

# The id of the box's container, whether it runs or not; empty if there is none.
box_container() { compose ps --all --quiet earshot 2>/dev/null | head -n 1; }

box_runs() { [ -n "$(compose ps --status running --quiet earshot 2>/dev/null)" ]; }

need_box() {
  local found other=
  if [ -x "$ROOT/scripts/setup" ]; then other=" Without Docker: $ROOT/scripts/setup, then scripts/run."; fi
  if ! found=$(compose ps --status running --quiet earshot 2>/dev/null); then
    # No start would mend what it complains of.
    found=$(compose ps --status running --quiet earshot 2>&1 >/dev/null) || true
    die "Docker compose does not say whether Earshot runs: ${found:-it failed}.$other" 3
  fi
  [ -z "$found" ] || return 0
  die "Earshot's container does not run: start it with \`docker compose up -d\`.$other" 3
}

# A command inside the running box.
in_box() {
  local terminal=()
  [ -t 0 ] && [ -t 1 ] || terminal=(-T)
  compose exec "${terminal[@]}" earshot "$@"
}
