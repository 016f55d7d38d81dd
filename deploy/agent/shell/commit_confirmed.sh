# Runs on a device without Python: a switch that goes back by itself when nobody confirms it.
# As deploy/agent/commit_confirmed.py, whose words these are.

do_switch() { # FOLDER SECONDS NOTE PREVIOUS [PROGRAM-JSON WORD...]
  locked && do_authorize || return 1
  is_complete "$1" || fail refused "$1 is not a complete release" '' || return 1
  new=$1 seconds=$2 before=$4
  write_durably "$root/pending" "$3" || return 1
  shift 4
  if ! start_watch "$seconds" "$@"; then
    rm -f "$root/pending"
    fail failed 'the device could not start what undoes an unconfirmed switch' ''
    return 1
  fi
  [ -z "$before" ] || point previous "$before" || return 1
  point current "$new"
}

do_confirm() {
  locked || return 1
  # a removal here or a rename there decides: never both
  if rm "$root/pending" 2>/dev/null; then
    flush "$root"
    end_watch
  else
    # it goes back just now: cut off, it would leave the program stopped
    true >"$root/incoming/heard"
    [ -z "$watch" ] || wait "$watch" 2>/dev/null
    watch=
    rm -f "$root/incoming/heard"
    fail refused 'the confirmation came too late' 'deploy again' \
      "the device went back to $(linked current)"
  fi
}

do_undo() { # [PROGRAM-JSON WORD...]
  locked || return 1
  [ -n "$watch" ] || fail refused 'there is no switch to undo' '' || return 1
  mv -fT "$root/pending" "$root/returning" 2>/dev/null
  go_back "$@" || return 1
  end_watch
  do_runs
}

do_back() { # FOLDER FROM
  locked && is_complete "$1" || return 1
  point current "$1" && point previous "$2"
}

# Undo a switch that was not confirmed. Cut off, it is done again by whoever next takes the lock.
go_back() { # [PROGRAM-JSON WORD...]
  note=$root/returning
  [ -f "$note" ] || note=$root/pending
  grep -qs '^{"back": ' "$note" || return 0
  back=$(sed -n 's/^{"back": "\([0-9a-f-]*\)", .*/\1/p' "$note")
  earlier=$(sed -n 's/^{"back": [^,]*, "previous": "\([0-9a-f-]*\)".*/\1/p' "$note")
  if [ -z "$back" ] || is_complete "$back"; then
    point_or_remove current "$back" && point_or_remove previous "$earlier" || return 1
  fi
  restart_program "$@"
  rm -f "$root/pending" "$root/returning" && flush "$root"
}

start_watch() { # SECONDS [PROGRAM-JSON WORD...]
  # in a session of its own, with the lock in its hand
  # shellcheck disable=SC2154 # the text of all this, which the session has put there
  setsid sh -c "$script" sh watch "$root" "$$" "$(began $$)" "$@" </dev/null >/dev/null 2>&1 &
  watch=$!
  tries=0
  until [ "$(session_of "$watch")" = "$watch" ]; do
    tries=$((tries + 1))
    kill -0 "$watch" 2>/dev/null && [ "$tries" -lt 100 ] || return 1
    nap
  done
  [ ! -d "$root/lock.d" ] || true >"$root/lock.d/$(ticket_of "$watch")"
}

end_watch() {
  [ -n "$watch" ] || return 0
  kill -KILL "$watch" 2>/dev/null
  wait "$watch" 2>/dev/null
  watch=
}

# Goes back when the time is up, or as soon as the agent is gone, which alone could have confirmed.
watch_switch() { # AGENT BEGAN SECONDS [PROGRAM-JSON WORD...]
  trap '' HUP INT TERM PIPE
  agent=$1 agent_began=$2 until=$(($(uptime_s) + $3))
  shift 3
  while [ -e "$root/pending" ] || [ -e "$root/returning" ]; do
    alive=
    [ "$(began "$agent")" != "$agent_began" ] || alive=yes
    if [ -z "$alive" ] || [ "$(uptime_s)" -ge "$until" ]; then
      mv -fT "$root/pending" "$root/returning" 2>/dev/null
      [ -e "$root/returning" ] || return 0
      go_back "$@"
      # its link seems to live and is dead: it would keep the lock for nobody
      [ -e "$root/incoming/heard" ] || [ "$(began "$agent")" != "$agent_began" ] ||
        kill -KILL "$agent"
      return 0
    fi
    sleep 1 9>&-
  done
}
