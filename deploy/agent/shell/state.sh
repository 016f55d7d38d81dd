# Runs on a device without Python: what is there, and what the device is. Changes nothing.

strangers() { # names in the root that show that it is not ours
  [ -d "$root" ] || return 0
  [ ! -e "$root/edgewright-root" ] || return 0
  alone='' others=''
  for entry in "$root"/* "$root"/.[!.]*; do
    [ -e "$entry" ] || [ -L "$entry" ] || continue
    case ${entry##*/} in
      lock | trusted_keys | accepted) alone=yes ;;
      lost+found | *.new) ;;
      blobs | incoming | releases | current | previous | pending | returning | accuracy)
        others="$others${entry##*/}
" ;;
      *) printf '%s\n' "${entry##*/}" ;;
    esac
  done
  [ -n "$alone" ] || printf %s "$others"
}

holder() { # who holds the lock; nothing when nobody else does
  [ -z "$held" ] && [ -f "$root/lock" ] || return 0
  if command -v flock >/dev/null 2>&1; then
    ! (flock -n -s 8) 8<"$root/lock" 2>/dev/null || return 0
  else
    [ -n "$(others)" ] || return 0
  fi
  name=
  IFS= read -r name <"$root/lock"
  printf %s "${name:-?}"
}

# Where there is no flock, who wants the lock puts a ticket of its process into lock.d, and then has
# it when there is none of another that lives. Of two at once, at least the later one sees the other.
ticket_of() { # PROCESS
  ticket=$(began "$1") && printf %s "$1.$ticket.$(cat /proc/sys/kernel/random/boot_id)"
}

others() { # tickets of others that live; those of others that don't go
  mine=$(ticket_of $$)
  for path in "$root"/lock.d/*; do
    ticket=${path##*/}
    [ -f "$path" ] && [ "$ticket" != "$mine" ] || continue
    if [ "$(ticket_of "${ticket%%.*}")" = "$ticket" ]; then echo "$ticket"; else rm -f "$path"; fi
  done
}

take_lock() {
  true >>"$root/lock" || return 1
  if command -v flock >/dev/null 2>&1; then
    exec 9<>"$root/lock"
    flock -n 9 || { exec 9>&- && return 1; }
  else
    mkdir -p "$root/lock.d" && true >"$root/lock.d/$(ticket_of $$)" || return 1
    [ -z "$(others)" ] || { rm -f "$root/lock.d/$(ticket_of $$)" && return 1; }
  fi
}

do_state() {
  say "current $(linked current)"
  say "previous $(linked previous)"
  say "holder $(holder)"
  for note in returning pending; do
    [ -f "$root/$note" ] || continue
    text=
    IFS= read -r text <"$root/$note"
    say "pending $text"
    break
  done
  # the last line of a file that somebody wrote may lack its end
  [ ! -f "$root/trusted_keys" ] || { cat "$root/trusted_keys" && echo; } | sed '/^$/d; s/^/+key /'
  for path in "$root"/releases/*; do
    is_complete "${path##*/}" || continue
    text=
    IFS= read -r text <"$path/installed.json"
    say "release ${path##*/} $text"
  done
}

do_manifest() { # FOLDER
  folder_of "$1" || return 1
  { cat "$release/manifest.json" && echo; } | sed 's/^/+/'
}

do_have() { # [SHA256 SIZE]...
  while [ $# -gt 1 ]; do
    [ "$(size_of "$root/blobs/$1")" != "$2" ] || say "have $1"
    begun=$(size_of "$root/incoming/$1.part") && say "part $1 $begun"
    shift 2
  done
  :
}

do_verify() { # FOLDER [SHA256 PATH]...
  folder_of "$1" || return 1
  shift
  while [ $# -gt 1 ]; do
    [ -f "$release/$2" ] && [ "$(sum_of "$release/$2")" = "$1" ] || say "wrong $2"
    shift 2
  done
  :
}

versions() { # KIND PREFIX FILE: which versions of symbols the first of such libraries has
  for library in "/lib/$3" /lib/*/"$3" "/lib64/$3" "/usr/lib/$3" /usr/lib/*/"$3" "/usr/lib64/$3"; do
    [ -f "$library" ] || continue
    for version in $(tr -c 'A-Z_0-9.' '\n' <"$library" | grep "^$2[0-9.]*\$"); do
      say "$1 ${version#"$2"}"
    done
    return 0
  done
}

first_line() { # KEY FILE
  line=
  [ ! -r "$2" ] || line=$(tr -d '\000' <"$2" 2>/dev/null | sed -n 1p)
  say "$1 $line"
}

do_look() {
  lacking=
  for program in $needed; do
    command -v "$program" >/dev/null 2>&1 || { lacking=yes && say "lacks $program"; }
  done
  [ -z "$lacking" ] || return 0
  mv --help 2>&1 | grep -q -e '-[a-z]*T' || say 'lacks mv -T'
  say "machine $(uname -m)"
  say "kernel $(uname -r)"
  say "hostname $(uname -n)"
  say "class $(od -An -tu1 -j4 -N1 /proc/self/exe | tr -d ' ')"
  say "os $(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null | tr -d '"')"
  versions glibc GLIBC_ libc.so.6
  versions glibcxx GLIBCXX_ libstdc++.so.6
  od -An -v -tu4 /proc/self/auxv | sed 's/^/+auxv /'
  sed 's/^/+cpuinfo /' /proc/cpuinfo
  first_line board /proc/device-tree/model
  first_line governor /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
  for zone in /sys/class/thermal/thermal_zone*/temp; do
    [ ! -r "$zone" ] || first_line temperature "$zone"
  done
  say "ram $(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
  strangers | while IFS= read -r name; do say "stranger $name"; done
  folder=$root
  while [ ! -d "$folder" ]; do
    folder=${folder%/*}
    folder=${folder:-/}
  done
  say "disk $(stat -f -c '%a %S %d' "$folder")"
  say "where $(cd -P "$folder" && pwd -P)"
  if [ -w "$folder" ] && [ -x "$folder" ]; then say writable; fi
  sed 's/^/+mount /' /proc/mounts
  say "time $(date +%s)"
}
