# What install.sh and `update` share, once a bundle is known to be good. Sourced after verify.sh and
# lib.sh; ROOT is the folder of the box.
# shellcheck shell=bash
# Who sources this uses what is set here, and has verified a bundle before:
# shellcheck disable=SC2034,SC2154

# What of a bundle lies in the box's folder. The image and the models go to Docker.
PLACED=(docker-compose.yml docker-compose.cpu.yml docker-compose.bridge.yml scripts docs README.md LICENSE NOTICE
  manifest.json sbom.cdx.json)
SIGNER=signer.pub

note() { printf '%s\n' "$1"; }

read_manifest() { # folder: sets version, accel, tag, mark
  [ "$(manifest_field "$1" format)" = 1 ] ||
    die "This bundle is of a newer kind than this version of Earshot can install."
  version=$(manifest_field "$1" version)
  accel=$(manifest_field "$1" accel)
  tag=$(manifest_field "$1" image_tag)
  mark=$(manifest_field "$1" image_mark)
  if ! [[ $tag =~ ^[a-z0-9][a-z0-9._/-]*:[A-Za-z0-9._-]+$ ]] || ! [[ $accel =~ ^(cpu|cuda)$ ]]; then
    die "manifest.json in $1 does not name an image of Earshot."
  fi
}

# What an image is, layers and settings, in a word; empty if it is not here. Not its id: engines that
# keep images differently give the same image other ones.
image_mark() { # image
  local found
  found=$(docker image inspect --format \
    '{{range .RootFS.Layers}}{{.}} {{end}}{{.Created}} {{.Config.User}} {{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.Env}}' \
    "$1" 2>/dev/null) || return 0
  printf '%s' "$found" | sha256sum | cut -d' ' -f1
}

load_image() { # folder: the image under its tag
  note "Loading the image $tag: this takes a minute or more."
  docker load --input "$1/image.tar.gz" >/dev/null ||
    die "Docker did not take the image: look at its free disk space (docker system df)."
  [ "$(image_mark "$tag")" = "$mark" ] || {
    # Nobody shall start it later.
    docker image rm "$tag" >/dev/null 2>&1 || true
    die "What Docker loaded under $tag is not the image that the manifest names."
  }
}

# The box's own command in a container of its own, with the box's volumes.
box_tool() { compose run --rm -T --no-deps --entrypoint appliance earshot "$@"; }

import_models() { # folder of the bundle that was verified: the models that lie beside the image
  local name ids="" files=()
  while read -r _ name || [ -n "$name" ]; do
    if [[ $name != models/*/* ]]; then continue; fi
    name=${name#models/}
    files+=("$name")
    [[ "$ids " == *" ${name%%/*} "* ]] || ids+=" ${name%%/*}"
  done <"$work/list"
  [ ${#files[@]} -gt 0 ] || return 0
  note "Installing the models$ids."
  tar -cf - -C "$checked/models" models.json -C "$(cd "$1" && pwd)/models" -- "${files[@]}" | box_tool models import
}

copy_placed() { # folder, to
  local item
  for item in "${PLACED[@]}"; do
    cp -R -- "$1/$item" "$2/$item" || return
  done
  # A stick's file system may know no modes.
  chmod -R u=rwX,go=rX "$2" || return
  chmod 755 "$2"/scripts/appliance "$2"/scripts/host/* || return
}

swap_placed() { # from, aside: what lies in ROOT goes aside, and what lies in from takes its place
  local item
  for item in "${PLACED[@]}"; do
    if [ -e "$ROOT/$item" ]; then mv -- "$ROOT/$item" "$2/$item" || return; fi
    if [ -e "$1/$item" ]; then mv -- "$1/$item" "$ROOT/$item" || return; fi
  done
}

keep_setting() { # name, value: the line in the box's .env, whatever else stands there
  local line draft=$ROOT/.env.new
  {
    if [ -f "$ROOT/.env" ]; then
      while IFS= read -r line || [ -n "$line" ]; do
        [ "${line%%=*}" = "$1" ] || printf '%s\n' "$line"
      done <"$ROOT/.env" || return
    fi
    printf '%s=%s\n' "$1" "$2"
  } >"$draft" || return
  # It may hold a database's password.
  chmod 600 "$draft" || return
  mv -- "$draft" "$ROOT/.env"
}

compose_files() { # accel
  if [ "$1" = cpu ]; then
    echo docker-compose.yml:docker-compose.cpu.yml
  else
    echo docker-compose.yml
  fi
}

start_box() { compose up --detach --no-build --pull never; }

await_healthy() { # seconds: whether the box became healthy; why says why not
  local until=$((SECONDS + $1)) id state health restarts code
  why="it was not ready within $1 seconds"
  while [ "$SECONDS" -lt "$until" ]; do
    id=$(box_container)
    if [ -n "$id" ] && read -r state health restarts code < <(docker inspect --format \
      '{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.RestartCount}} {{.State.ExitCode}}' \
      "$id" 2>/dev/null); then
      if [ "$state $health" = "running healthy" ]; then return 0; fi
      if [ "$state" = exited ] || [ "$state" = dead ]; then
        why="its container ended with code $code"
        return 1
      fi
      if [ "${restarts:-0}" -ge 3 ]; then
        why="its container ended again and again"
        return 1
      fi
    fi
    sleep 2
  done
  return 1
}
