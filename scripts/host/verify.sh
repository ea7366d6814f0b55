# Whether a bundle is what its owner signed. Needs bash, coreutils and ssh-keygen alone, and reads
# nothing of a bundle but its list and signature before both are known to be good.
# `bundle create` writes this file into the bundle's install.sh.
# shellcheck shell=bash

NAMESPACE=earshot-bundle
LIST=SHA256SUMS
SIGNATURE=SHA256SUMS.sig
NOTHING=" Nothing was loaded."
KEY_TYPES='(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)'

die() { # sentence, exit code (1)
  printf '%s\n' "$1" >&2
  exit "${2:-1}"
}

need_value() { # an option and what follows it
  if [ $# -lt 2 ] || [[ $2 == --* ]]; then die "$1 needs a value." 2; fi
}

need_tools() { # programs
  local tool missing=""
  for tool in "$@"; do
    command -v "$tool" >/dev/null || missing+=", $tool"
  done
  [ -z "$missing" ] ||
    die "This machine lacks ${missing:2}: install it first (ssh-keygen comes with the OpenSSH client)."
}

make_work() { # a private folder, gone when the script ends; $work names it
  work=$(mktemp -d "${TMPDIR:-/tmp}/earshot.XXXXXXXX") ||
    die "No temporary folder can be made in ${TMPDIR:-/tmp}: is the disk full?"
  trap 'rm -rf "$work"' EXIT
}

# ---- keys ----------------------------------------------------------------------------------

key_of_file() { # a public key's file: prints "type base64"
  local line
  [ -r "$1" ] || die "The signer's public key $1 cannot be read."
  while IFS= read -r line || [ -n "$line" ]; do
    if [[ $line =~ ^$KEY_TYPES\ [A-Za-z0-9+/=]+ ]]; then
      printf '%s' "${BASH_REMATCH[0]}"
      return
    fi
  done <"$1"
  die "$1 is no SSH public key: give the file that ends in .pub."
}

key_of_signature() { # a signature's file: prints the "type base64" that it names
  local line text="" raw=$work/signature.raw length kind key
  while IFS= read -r line || [ -n "$line" ]; do
    [[ $line == -----* ]] || text+=$line
  done <"$1"
  printf '%s' "$text" | base64 -d >"$raw" 2>/dev/null || return 1
  length=$(number_at "$raw" 10) || return 1
  kind=$(number_at "$raw" 14) || return 1
  if ((length < 8 || length > 16384 || kind < 4 || kind > 64)); then return 1; fi
  key=$(head -c $((14 + length)) "$raw" | tail -c "$length" | base64 -w 0)
  printf '%s %s' "$(head -c $((18 + kind)) "$raw" | tail -c "$kind")" "$key"
}

number_at() { # file, offset: the four bytes there as a number
  local bytes
  read -ra bytes < <(od -An -v -tu1 -j "$2" -N 4 "$1") || return 1
  [ ${#bytes[@]} = 4 ] || return 1
  printf '%d' $(((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]))
}

fingerprint() { # "type base64": SHA256:…
  local found
  printf '%s\n' "$1" >"$work/shown.pub"
  found=$(ssh-keygen -l -E sha256 -f "$work/shown.pub" 2>/dev/null) || die "That is no SSH public key: $1"
  read -r _ found _ <<<"$found"
  printf '%s' "$found"
}

# ---- the signature -------------------------------------------------------------------------

check_signature() { # folder, "type base64" of who must have signed, or "": sets signed_by
  local said wanted=$2
  if ! [ -f "$1/$LIST" ] || ! [ -f "$1/$SIGNATURE" ]; then
    die "$1 is no bundle, or not a whole one: $LIST or $SIGNATURE is missing."
  fi
  # What is read from here on is what was checked, whatever happens to the stick meanwhile.
  cp -- "$1/$LIST" "$work/list"
  cp -- "$1/$SIGNATURE" "$work/signature"
  if ! said=$(ssh-keygen -Y check-novalidate -n "$NAMESPACE" -s "$work/signature" \
    <"$work/list" 2>&1); then
    case $said in
      *"unknown option"* | *"illegal option"* | *"invalid option"*)
        die "ssh-keygen is too old here to check signatures: OpenSSH 8.2 or newer is needed." ;;
    esac
    die "The signature in $1 does not belong to its list of files: one of the two was changed.$NOTHING"
  fi
  signed_by=$(key_of_signature "$work/signature") || signed_by=""
  [[ $signed_by =~ ^$KEY_TYPES\ [A-Za-z0-9+/=]+$ ]] ||
    die "The signature in $1 was made with a kind of key that is not taken here.$NOTHING"
  if [ -n "$wanted" ] && [ "$signed_by" != "$wanted" ]; then
    die "This bundle is signed by somebody else: its key is $(fingerprint "$signed_by"), and $(fingerprint "$wanted") was expected.$NOTHING"
  fi
  printf 'owner namespaces="%s" %s\n' "$NAMESPACE" "${wanted:-$signed_by}" >"$work/allowed"
  ssh-keygen -Y verify -f "$work/allowed" -I owner -n "$NAMESPACE" -s "$work/signature" \
    <"$work/list" >/dev/null 2>&1 ||
    die "The signature in $1 is not good.$NOTHING"
}

ask_for_signer() { # nobody has said whose key it must be: shows it and waits for a yes
  local answer="" shown
  shown=$(fingerprint "$signed_by")
  [ -t 0 ] ||
    die "Nobody has said who signs your bundles: give the sender's public key with --signer FILE. This one is signed with $shown.$NOTHING"
  echo "This bundle is signed with the key"
  echo "  $shown"
  echo "Compare it with what the sender told you by telephone or on paper, not with anything in the bundle."
  printf 'Is it the same? Type yes to go on: '
  read -r answer || true
  [ "$answer" = yes ] || die "Stopped.$NOTHING"
}

# ---- the files -----------------------------------------------------------------------------

check_files() { # folder whose signature is good: each file is the listed one, and nothing else is there
  local line name entry said
  local -A listed=() parents=()
  while IFS= read -r line || [ -n "$line" ]; do
    [[ $line =~ ^[0-9a-f]{64}\ \ ([A-Za-z0-9][A-Za-z0-9._+~@=,:/-]*)$ ]] ||
      die "The list of files in $1 has a line that is none.$NOTHING"
    name=${BASH_REMATCH[1]}
    case /$name/ in
      *//* | */.*) die "The list of files in $1 names $name, which no bundle has.$NOTHING" ;;
    esac
    [ -z "${listed[$name]:-}" ] || die "The list of files in $1 names $name twice.$NOTHING"
    listed[$name]=1
    entry=$name
    while [[ $entry == */* ]]; do
      entry=${entry%/*}
      parents[$entry]=1
    done
  done <"$work/list"
  if [ -z "${listed[manifest.json]:-}" ] || [ -z "${listed[install.sh]:-}" ]; then
    die "The list of files in $1 is not a bundle's.$NOTHING"
  fi
  shopt -s globstar dotglob nullglob
  for entry in "$1"/**; do
    name=${entry#"$1"/}
    if [ -L "$entry" ]; then die "${name@Q} in $1 is a link, and a bundle has none.$NOTHING"; fi
    if [ -z "$name" ] || [ "$name" = "$LIST" ] || [ "$name" = "$SIGNATURE" ]; then continue; fi
    if [ -d "$entry" ]; then
      [ -z "${parents[$name]:-}" ] || continue
    elif [ -n "${listed[$name]:-}" ]; then
      continue
    fi
    die "${name@Q} lies in $1 and is not in its signed list: take it away, and ask where it came from.$NOTHING"
  done
  shopt -u globstar dotglob nullglob
  for name in "${!listed[@]}"; do
    [ -f "$1/$name" ] || die "$name is missing in $1: copy the bundle again.$NOTHING"
  done
  checked=$work/checked
  mkdir -- "$checked"
  while read -r line name || [ -n "$name" ]; do
    case $name in
      image.tar.gz | sources/* | models/*/*) entry=$1 ;;
      *)
        # The stick is another's until it is pulled out: what is used later is the copy that is hashed.
        entry=$checked
        mkdir -p -- "$(dirname -- "$checked/$name")"
        cp -- "$1/$name" "$checked/$name" || die "$name in $1 could not be read: copy the bundle again.$NOTHING"
        ;;
    esac
    said=$(sha256sum -- "$entry/$name") && [ "${said%% *}" = "$line" ] ||
      die "$name in $1 is not what was signed: its SHA-256 is wrong.$NOTHING"
  done <"$work/list"
  file_count=${#listed[@]}
}

manifest_field() { # folder, name: a text of the manifest's own part, before its models
  local line
  while IFS= read -r line; do
    [[ $line != *'"models":'* ]] || break
    if [[ $line =~ ^\ *\"$2\":\ \"([^\"]*)\",?$ ]]; then
      printf '%s' "${BASH_REMATCH[1]}"
      return
    fi
  done <"$1/manifest.json"
  die "manifest.json in $1 does not say $2."
}

# Sets `checked`: a copy of all but image, sources and models. The image is what the manifest names
# once Docker has it, and the box compares each model with the list in that copy.
verify_bundle() { # folder, file of the signer's public key or "": all of it, or the script ends here
  local wanted=""
  [ -d "$1" ] || die "There is no folder $1."
  [ -z "$2" ] || wanted=$(key_of_file "$2")
  check_signature "$1" "$wanted"
  [ -n "$wanted" ] || ask_for_signer
  echo "The signature is good. Every file is being compared with the signed list."
  check_files "$1"
  echo "All $file_count files are what was signed."
}
