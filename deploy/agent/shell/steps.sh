# Runs on a device without Python: the steps of a deployment up to the switch. Each may be cut off anywhere.

do_lock() { # WHO [PROGRAM-JSON WORD...]
  found=$(strangers)
  [ -z "$found" ] || fail refused "$root has other things in it" \
    'set edgewright.root in the inventory to a folder that is empty, or not there yet' \
    "$found" || return 1
  mkdir -p "$root" || return 1
  [ -e "$root/edgewright-root" ] || write_durably "$root/edgewright-root" \
    "This folder is edgewright's: whatever stands in it may be removed.
" || return 1
  if ! take_lock; then
    fail locked 'another deployment or a measurement is under way' \
      'wait for it to end, then run the same command again' "by $(holder)"
    return 1
  fi
  held=yes
  printf %s "$1" >"$root/lock"
  shift
  go_back "$@"
}

do_authorize() { # a seal is checked by Python alone, and keys keep out what has none
  [ ! -e "$root/trusted_keys" ] || fail untrusted \
    'it takes signed releases only, and without Python it can check no signature' \
    'install python3 there, or remove trusted_keys from its folder'
}

do_prepare() { # clear what a cut-off deployment left
  locked && do_authorize || return 1
  mkdir -p "$root/blobs" "$root/incoming" "$root/releases" && do_abandon || return 1
  for path in "$root"/incoming/*; do
    case ${path##*/} in
      *[!0-9a-f]*.part) rm -rf "$path" ;;
      *.part) ;;
      *) rm -rf "$path" ;;
    esac
  done
}

do_missing() { # [SHA256 SIZE]...
  locked || return 1
  while [ $# -gt 1 ]; do
    blob=$root/blobs/$1 part=$root/incoming/$1.part offset=0
    if [ "$(size_of "$blob")" != "$2" ] || [ "$(sum_of "$blob")" != "$1" ]; then
      rm -f "$blob" || return 1
      if [ -f "$part" ]; then
        offset=$(size_of "$part")
        [ "$offset" -le "$2" ] || { rm -f "$part" && offset=0; }
      fi
      say "$1 $2 $offset"
    fi
    shift 2
  done
}

do_take() { # SHA256
  locked || return 1
  received=$root/incoming/$1
  if [ -f "$received" ] && [ "$(sum_of "$received")" = "$1" ]; then
    chmod 444 "$received" && mv -fT "$received" "$root/blobs/$1" && say yes
  else
    rm -f "$received"
  fi
}

do_begin() { # PREFIX: a new folder for a release
  locked && do_authorize && folder_of "$1" || return 1
  name=$1 number=1
  while [ -e "$root/releases/$name" ]; do
    number=$((number + 1))
    name=$1-$number
  done
  mkdir "$root/releases/$name" && say "$name"
}

do_place() { # FOLDER [SHA256 PATH]...
  locked && folder_of "$1" || return 1
  shift
  while [ $# -gt 1 ]; do
    case "/$2/" in
      *//* | */../* | */./*) fail refused "a path that is not allowed: $2" '' || return 1 ;;
    esac
    target=$release/$2
    mkdir -p "${target%/*}" || return 1
    ln "$root/blobs/$1" "$target" 2>/dev/null ||
      { cp "$root/blobs/$1" "$target" && chmod 444 "$target"; } || return 1
    shift 2
  done
}

do_finish() { # FOLDER MANIFEST MARKER
  locked && folder_of "$1" || return 1
  write_durably "$release/manifest.json" "$2" && sync && write_durably "$release/installed.json" "$3"
}

discard() { # FOLDER: gone in one rename, so that no half of it ever counts
  folder_of "$1" || return 1
  trash=$root/incoming/trash-$$-$1
  rm -rf "$trash" && mv -fT "$release" "$trash" && flush "$root/releases" && rm -rf "$trash"
}

do_abandon() { # remove what was laid out and is not complete
  locked || return 1
  for path in "$root"/releases/*; do
    name=${path##*/}
    is_folder "$name" && [ -d "$path" ] && ! is_complete "$name" || continue
    [ "$name" != "$(linked current)" ] && [ "$name" != "$(linked previous)" ] || continue
    discard "$name" || return 1
  done
}

do_forget() { # what ran before: a rollback no longer goes back to it
  locked && point_or_remove previous
}

do_clean() { # [FOLDER]...: as do_drop; and what was half received, which nobody waits for any more
  do_drop "$@" && rm -rf "$root"/incoming/*
}

do_drop() { # [FOLDER]...: remove these releases, and every file that none of the others has
  locked && do_abandon || return 1
  for folder; do
    [ "$folder" != "$(linked current)" ] && [ "$folder" != "$(linked previous)" ] || continue
    discard "$folder" || return 1
  done
  for path in "$root"/blobs/*; do
    [ -e "$path" ] || continue
    grep -qsF "${path##*/}" "$root"/releases/*/manifest.json || rm -f "$path" || return 1
  done
}
