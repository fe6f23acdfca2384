#!/bin/sh
# Runs a command in a User-Mode Linux guest on this machine's own files, which it
# cannot write: for link types that this kernel lacks (bridge VLAN filtering,
# vlan, dummy, ipvlan, vrf), and for another kernel version. Needs no root. The
# guest's console is on stdout while it runs.
#
#   tests/harness/uml.sh tests/harness/private.sh deno test -A tests/bridge_vlan_test.ts
#
# Needs Debian's package user-mode-linux, installed or unpacked below $UML_ROOT.
# UML_MEMORY is the guest's memory, 2000M when unset; UML_SILENCE the seconds without
# a word after which it is ended, 240 when unset; UML_LIMIT those after which it is
# ended whatever it says, 1800 when unset; UML_SHARE a folder that the guest can
# write, under the same path; UML_CPU the processor it stays on: a guest has one
# alone, and its kernel and its programs take turns; UML_PREFIX stands before each line.
set -eu
[ $# -gt 0 ] || { echo "usage: uml.sh COMMAND [ARGUMENT]..." >&2; exit 2; }
linux=${UML_ROOT:-}/usr/bin/linux.uml
modules=$(echo "${UML_ROOT:-}"/usr/lib/uml/modules/*)
limit=${UML_LIMIT:-1800}
silence=${UML_SILENCE:-240}
pin=${UML_CPU:+taskset --cpu-list $UML_CPU}
[ -x "$linux" ] || {
  echo "uml.sh: no program $linux: install user-mode-linux, or unpack it and set UML_ROOT" >&2
  exit 2
}

work=$(mktemp -d "${TMPDIR:-/tmp}/uml.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP INT TERM
quote() { printf "'%s' " "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

{
  echo '#!/bin/sh'
  for name in HOME PATH DENO_DIR CNI_BIN_DIR NO_COLOR $(env | sed -n 's/^\(DENOCNI_[A-Z_]*\)=.*/\1/p'); do
    eval "value=\${$name:-}"
    [ "$value" ] && echo "export $name=$(quote "$value")"
  done
  # /run is covered once more by private.sh: the folder for temporary files is elsewhere.
  cat <<'INIT'
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /run
mkdir -p /dev/shm /run/netns /run/modules/lib/modules
mount -t tmpfs tmpfs /dev/shm
export TMPDIR=/dev/shm DENO_NO_UPDATE_CHECK=1
ip link set lo up
INIT
  [ -z "${UML_SHARE:-}" ] ||
    echo "mount -t hostfs -o $(quote "$UML_SHARE") share $(quote "$UML_SHARE")"
  echo "ln -s '$modules' /run/modules/lib/modules/"
  cat <<'INIT'
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/modules "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
for module in bridge veth; do /run/modprobe "$module"; done
INIT
  echo "cd $(quote "$PWD")"
  # A pipe, for the console would be taken for a terminal.
  echo 'echo "uml.sh: begin"; {'
  for word in "$@"; do quote "$word"; done
  cat <<'INIT'

echo $? >/run/status; } 2>&1 | cat
echo "uml.sh: exit status $(cat /run/status)"
echo o >/proc/sysrq-trigger
sleep 10
INIT
} >"$work/init"
chmod +x "$work/init"

{
  # In the foreground: a signal to the group reaches the guest, too.
  # shellcheck disable=SC2086
  timeout --foreground --kill-after=5 "$limit" $pin "$linux" mem="${UML_MEMORY:-2000M}" rootfstype=hostfs rootflags=/ ro \
    quiet loglevel=0 init="$work/init" con=null con0=null,fd:1 </dev/null 2>&1 &
  guest=$!
  : >"$work/output"
  while sleep 2 && kill -0 "$guest" 2>/dev/null; do
    # Nobody listens any more.
    kill -0 "$PPID" 2>/dev/null || kill "$guest"
    said=$(stat -c %Y "$work/output")
    [ $(($(date +%s) - said)) -le "$silence" ] || { kill "$guest"; echo silent >"$work/ended"; }
  done &
  wait "$guest" && ended=$? || ended=$?
  [ -s "$work/ended" ] || echo "$ended" >"$work/ended"
} | sed -u 's|\r||g' | tee "$work/output" |
  sed -u -n "/^uml.sh: begin\$/,/^uml.sh: exit/ { /^uml.sh: /!s/^/${UML_PREFIX:-}/p }"

status=$(sed -n 's/^uml.sh: exit status \([0-9]*\)$/\1/p' "$work/output")
[ -z "$status" ] || exit "$status"
case $(cat "$work/ended") in
silent) echo "uml.sh: the guest has said nothing for $silence s; the end of its console:" >&2 ;;
124 | 137) echo "uml.sh: the guest has not ended within $limit s; the end of its console:" >&2 ;;
*) echo "uml.sh: the guest has ended early; the end of its console:" >&2 ;;
esac
tail -n 50 "$work/output" >&2
exit 1
