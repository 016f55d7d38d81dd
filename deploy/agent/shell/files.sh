# Runs on a device without Python: does there what deploy/agent does, with POSIX sh and what busybox
# has. It decides nothing: `deploy.release.shell.session` does, and sends one step after another.
#
# A request is a line, `NAME COUNT`, and COUNT words, a line each. The answer is any number of lines
# that begin with +, then `ok`; or, after lines that begin with - (kind, brief, resolution, detail),
# `no`. Folders and files are those of deploy/agent/state.py, and what is written into them too, so
# that a Python that comes to the device later goes on with them.
#
# Every step may be cut off anywhere: a release counts from the moment its marker is on the disk, one
# rename of a link switches to it.

needed='cat chmod cp date dd grep ln mkdir mv od readlink rm sed setsid sha256sum sleep stat sync
tail tr uname wc'
largest_log=1048576

say() { printf '+%s\n' "$1"; }

# KIND BRIEF RESOLUTION [DETAIL]
fail() {
  printf '%s\n' "$1" "$2" "$3" "${4:-}" | sed 's/^/-/'
  return 1
}

nap() { sleep 0.1 2>/dev/null || sleep 1; }

# seconds since the boot, which no change of the clock moves
uptime_s() {
  read -r up _ </proc/uptime
  printf %s "${up%.*}"
}

size_of() { [ -f "$1" ] && printf %s "$(($(wc -c <"$1")))"; }

sum_of() {
  sum=$(sha256sum <"$1") && printf %s "${sum%% *}"
}

# a file's bytes, or a folder's names, to the disk; an older busybox can bring but all there
flush() { sync "$1" 2>/dev/null || sync; }

# a file that is whole under its name or not there at all
write_durably() { # PATH TEXT
  printf %s "$2" >"$1.new" && flush "$1.new" && mv -fT "$1.new" "$1" && flush "${1%/*}"
}

is_folder() { # whether a text names a release's folder
  case $1 in
    *[!0-9a-f-]* | '' | -* | *-*-*) return 1 ;;
    ????????????????) [ "${1#*-}" = "$1" ] ;;
    ????????????????-*[!0-9]* | ????????????????-) return 1 ;;
    ????????????????-*) ;;
    *) return 1 ;;
  esac
}

folder_of() { # the path of a release, by its folder's name
  is_folder "$1" || fail refused "not a release folder: $1" '' || return 1
  release=$root/releases/$1
}

is_complete() { is_folder "$1" && grep -qs '"serial"' "$root/releases/$1/installed.json"; }

linked() { # the folder that a link of the root names; nothing when it names none
  led=$(readlink "$root/$1" 2>/dev/null) || return 0
  led=${led##*/}
  if is_folder "$led"; then printf %s "$led"; fi
}

point() { # NAME FOLDER
  rm -f "$root/.$1.new" && ln -s "releases/$2" "$root/.$1.new" &&
    mv -fT "$root/.$1.new" "$root/$1" && flush "$root"
}

point_or_remove() { # NAME [FOLDER]
  if [ -n "${2:-}" ]; then
    point "$1" "$2"
  elif [ -L "$root/$1" ]; then
    rm -f "$root/$1" && flush "$root"
  fi
}

locked() { [ -n "$held" ] || fail refused 'this step needs the lock' ''; }
