# Runs on a device without Python: the user's program, which is restarted with each release, and its health.
# As deploy/agent/service.py, for commands; there is no unit and no address here.

stat_of() { # PROCESS FIELD: of /proc/PROCESS/stat, counted behind the name; fails when it has ended
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  field=$2
  # shellcheck disable=SC2086 # the fields behind the name are a letter and numbers
  set -- ${stat##*) }
  case $1 in Z | X | '') return 1 ;; esac
  shift "$((field - 1))"
  printf %s "$1"
}

session_of() { stat_of "$1" 4; }

began() { stat_of "$1" 20; } # in clock ticks since the boot

running() { # the process that was started here, when it still is that one
  noted=$(sed -n 's/^{"process": \([0-9]*\), "began": "\([0-9]*\)".*/\1 \2/p' \
    "$root/program.json" 2>/dev/null)
  [ -n "$noted" ] && [ "$(began "${noted% *}")" = "${noted#* }" ] && printf %s "${noted% *}"
}

do_absent() { # WORD: why a command can't be run here; nothing when it can
  case $1 in
    '~/'*) program=$HOME/${1#??} ;;
    *) program=$1 ;;
  esac
  case $program in
    */*) [ -f "$program" ] && [ -x "$program" ] || say "there is no program $1" ;;
    *) command -v "$program" >/dev/null 2>&1 || say "there is no program $1" ;;
  esac
}

do_runs() {
  say "$(linked current)"
  if running >/dev/null; then say yes; fi
}

restart_program() { # [JSON WORD...]: with the release that is current; without one, not at all
  [ $# -gt 1 ] || return 0
  json=$1
  shift
  stop_program
  [ -d "$root/current" ] || return 0
  if [ "$(size_of "$root/program.log" || echo 0)" -gt "$largest_log" ]; then
    mv -f "$root/program.log" "$root/program.log.1"
  fi
  in_session "$@" >>"$root/program.log" 2>&1 &
  number=$!
  ticks=$(began "$number") || return 0 # found out when its health is looked at
  write_durably "$root/program.json" \
    "{\"process\": $number, \"began\": \"$ticks\", \"command\": $json}"
}

in_session() { # WORD...: become this command, with what a program of the user's finds
  exec </dev/null 9>&-
  trap - HUP INT TERM PIPE
  EDGEWRIGHT_RELEASE=$(cd -P "$root/current" && pwd -P)
  export EDGEWRIGHT_RELEASE
  cd || exit 1
  count=$#
  while [ "$count" -gt 0 ]; do
    word=$1
    shift
    case $word in
      '~/'*) word=$HOME/${word#??} ;;
    esac
    set -- "$@" "$word"
    count=$((count - 1))
  done
  exec setsid "$@"
}

end_session() { # SIGNAL PROCESS: it and its group; of 1 that would be every process
  case $2 in
    [2-9] | [1-9][0-9]*) kill "-$1" "-$2" 2>/dev/null || kill "-$1" "$2" 2>/dev/null ;;
  esac
}

stop_program() {
  number=$(running) || return 0
  for signal in TERM KILL; do
    end_session "$signal" "$number"
    left=50
    while [ "$left" -gt 0 ] && running >/dev/null; do
      nap
      left=$((left - 1))
    done
  done
}

do_restart() { # WITHIN COUNT [JSON WORD...] [HEALTH-WORD...]: COUNT are the program's
  locked || return 1
  within=$1 count=$2 total=$#
  shift 2
  if [ "$count" -eq 0 ]; then
    await_health "$@"
    return
  fi
  # shellcheck disable=SC2016 # what is evaluated are the numbers of parameters
  eval "restart_program $(numbered 1 "$count")" || return 1
  eval "await_health $(numbered "$((count + 1))" "$((total - 2))")"
}

numbered() { # FROM TO: "${1}" "${2}" ...
  at=$1
  while [ "$at" -le "$2" ]; do
    printf '"$''{%s}" ' "$at"
    at=$((at + 1))
  done
}

await_health() { # [WORD...]: return as soon as the program is well
  nap && nap
  stays || return 1
  [ $# -gt 0 ] || return 0
  until=$(($(uptime_s) + within)) why=
  while [ "$(uptime_s)" -lt "$until" ]; do
    in_session "$@" >"$root/incoming/health" 2>&1 &
    asked=$!
    while began "$asked" >/dev/null && [ "$(uptime_s)" -lt "$until" ]; do nap; done
    if began "$asked" >/dev/null; then
      end_session KILL "$asked"
      wait "$asked" 2>/dev/null
      why=${why:-its command did not end}
      break
    fi
    wait "$asked"
    code=$?
    if [ "$code" -eq 0 ]; then
      rm -f "$root/incoming/health"
      stays
      return
    fi
    why="exit status $code: $(tail -n 1 "$root/incoming/health" | dd bs=300 count=1 2>/dev/null)"
    stays || return 1
    nap
  done
  fail service "its health check did not succeed within $within s" '' "$why
$(last_lines)"
}

stays() {
  [ "$count" -eq 0 ] || running >/dev/null ||
    fail service 'its program ended' '' "$(last_lines)"
}

last_lines() { tail -n 10 "$root/program.log" 2>/dev/null | tail -c 4096; }
