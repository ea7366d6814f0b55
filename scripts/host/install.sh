#!/usr/bin/env bash
# Installs Earshot from this bundle; needs no internet.
#   bash install.sh [--signer FILE] [--into FOLDER] [--wait SECONDS]
# FILE is the public key of whoever made the bundle, got by another way than the bundle. To be sure of
# this script too, check the bundle before running it (docs/install.md).
set -euo pipefail
# shellcheck source=scripts/host/verify.sh
. "$(dirname "${BASH_SOURCE[0]}")/verify.sh"

TOOLS=(base64 cat chmod cp cut dirname head mkdir mktemp mv od rm sha256sum sleep sort ssh-keygen tail tar)

main() {
  local signer="" into=/opt/earshot wait_s=900 bundle given=""
  while [ $# -gt 0 ]; do
    case "$1" in
      --signer) need_value "$@" && signer=$2 && shift ;;
      --into) need_value "$@" && into=$2 && shift ;;
      --wait) need_value "$@" && wait_s=$2 && shift ;;
      *) die "usage: bash install.sh [--signer FILE] [--into FOLDER] [--wait SECONDS]" 2 ;;
    esac
    shift
  done
  [[ $wait_s =~ ^[0-9]+$ ]] || die "--wait needs a number of seconds." 2
  need_tools "${TOOLS[@]}" docker
  make_work
  bundle=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
  given=$signer
  # Who installed here before is who may install again.
  if [ -z "$signer" ] && [ -f "$into/signer.pub" ]; then signer=$into/signer.pub; fi
  verify_bundle "$bundle" "$signer"
  # From here on everything in this copy is what its signer made.
  # shellcheck source=scripts/host/lib.sh
  . "$checked/scripts/host/lib.sh"
  # shellcheck source=scripts/host/installing.sh
  . "$checked/scripts/host/installing.sh"
  read_manifest "$checked"
  mkdir -p -- "$into" 2>/dev/null && into=$(cd "$into" && pwd -P) && [ -w "$into" ] ||
    die "The folder $into cannot be made or written: run this as root, or choose another with --into."
  place "$bundle" "$into" "${given:+$signed_by}"
  # shellcheck source=scripts/host/lib.sh
  . "$into/scripts/host/lib.sh"
  unset EARSHOT_IMAGE COMPOSE_FILE
  note "Looking at this machine."
  "$into/scripts/host/preflight" || die "Earshot is not installed yet. Then run this again; settings such as ports go into $into/.env."
  load_image "$bundle"
  import_models "$bundle" || die "The models were not installed. Run this again when that is mended."
  note "Starting Earshot $version."
  start_box || die "Docker could not start Earshot: its words are above."
  await_healthy "$wait_s" ||
    die "Earshot did not come up: $why. \`docker compose logs\` in $into says more; then run this again."
  note "Earshot is up. Now it is shown that nothing leaves this machine."
  "$into/scripts/appliance" prove-offline --yes ||
    die "Earshot $version is installed in $into and runs, but the offline proof did not pass: its words are above."
  await_healthy "$wait_s" || die "Earshot is installed in $into and did not come up again after the proof: $why."
  note "Earshot $version is installed in $into. It says:"
  # Its addresses, and the link for setting the owner's password.
  compose logs --no-color --no-log-prefix --tail 12 earshot || true
}

place() { # bundle, folder, who signed it if it was told: the files of the box's folder
  local into=$2 ROOT=$2 old there item
  [ ! -e "$into/.git" ] || die "$into is a copy of Earshot's sources: choose another folder with --into."
  [ ! -e "$into/.update" ] ||
    die "An update in $into was not finished: run $into/scripts/appliance update --roll-back first."
  old=$(value_in EARSHOT_IMAGE "" "$into/.env")
  there=$(image_mark "$tag")
  if [ -z "$old" ]; then
    # What is somebody's own is neither replaced nor deleted.
    for item in "${PLACED[@]}" .new .old; do
      if [ -e "$into/$item" ] || [ -L "$into/$item" ]; then
        die "$into/$item is there already and is not Earshot's: choose another folder with --into."
      fi
    done
  elif { [ "$old" != "$tag" ] || [ "${there:-$mark}" != "$mark" ]; } && ever_loaded "$old"; then
    die "Earshot is installed in $into already ($old): run $into/scripts/appliance update $1"
  fi
  # Says from now on whose the files are, also if this is cut off.
  keep_setting EARSHOT_IMAGE "$tag" || die "$into/.env cannot be written."
  rm -rf -- "$into/.new" "$into/.old"
  mkdir -- "$into/.new" "$into/.old"
  copy_placed "$checked" "$into/.new" || die "The files could not be copied to $into: is its disk full?"
  swap_placed "$into/.new" "$into/.old" || die "The files in $into could not be replaced."
  rm -rf -- "$into/.new" "$into/.old"
  [ -n "$(value_in COMPOSE_FILE "" "$into/.env")" ] || keep_setting COMPOSE_FILE "$(compose_files "$accel")"
  if [ -n "$3" ] || ! [ -f "$into/$SIGNER" ]; then
    printf '%s\n' "$signed_by" >"$into/$SIGNER"
  fi
}

ever_loaded() { # image: whether an installation came further than looking at the machine
  docker image inspect "$1" >/dev/null 2>&1 || docker volume inspect "$(data_volume)" >/dev/null 2>&1
}

main "$@"; exit
