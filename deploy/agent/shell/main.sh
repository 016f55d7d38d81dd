# Runs on a device without Python: requests come, answers go.

# What ends this process when no request comes for that long, and with it lets go of the lock. It is
# begun anew only now and then, since each takes three programs.
stay_awake() {
  now=$(uptime_s)
  [ -z "$sleeper" ] || [ "$((now - asleep))" -ge 30 ] || return 0
  sleep_on
  # in a session of its own, so that it and its sleep are ended as one
  setsid sh -c "$script" sh idle "$root" $$ "$(began $$)" "$idle" 9>&- </dev/null >/dev/null 2>&1 &
  sleeper=$! asleep=$now
}

sleep_on() {
  [ -n "$sleeper" ] || return 0
  end_session KILL "$sleeper"
  wait "$sleeper" 2>/dev/null
  sleeper=
}

serve() {
  # what is laid out here is run: no one else may write to it, however the login is set up
  umask 022
  held='' watch='' sleeper=''
  trap 'sleep_on' EXIT
  trap 'exit 1' HUP INT TERM PIPE
  say "$root"
  echo ok
  while stay_awake && IFS= read -r request; do
    name=${request%% *} count=${request#* }
    set --
    while [ "$count" -gt 0 ]; do
      IFS= read -r word || exit 1
      set -- "$@" "$word"
      count=$((count - 1))
    done
    case $name in
      abandon | absent | authorize | back | begin | clean | confirm | drop | finish | forget | have | lock | look | manifest | \
        missing | place | prepare | restart | runs | state | switch | take | undo | verify)
        if "do_$name" "$@"; then echo ok; else echo no; fi
        ;;
      ping) echo ok ;;
      bye) exit 0 ;;
      *) fail refused "no such step: $name" '' || echo no ;;
    esac
  done
  exit 1
}

case $2 in
  '~/'*) root=$HOME/${2#??} ;;
  *) root=$2 ;;
esac
case $1 in
  serve)
    idle=$3
    serve
    ;;
  idle) # ROOT AGENT BEGAN SECONDS
    left=$5
    while [ "$left" -gt 0 ] && [ "$(began "$3")" = "$4" ]; do
      sleep "$((left < 10 ? left : 10))" || exit
      left=$((left - 10))
    done
    # its number may be another process's by now
    [ "$(began "$3")" != "$4" ] || kill -KILL "$3"
    ;;
  watch)
    shift 2
    watch_switch "$@"
    ;;
esac
