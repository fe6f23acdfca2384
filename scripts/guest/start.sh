#!/bin/sh
# Starts a guest and ends with it: virtiofsd, which serves this machine's root file system, and
# the given command line of QEMU, which connects to it.
#
#   start.sh SHARE QEMU [ARGUMENT]...
#
# SHARE is the only folder that the guest can write: this runs in a mount namespace of its own,
# where the rest is read-only. Whoever starts this takes QEMU along when it ends, and QEMU takes
# virtiofsd along.
set -eu
share=$1
shift
exec 2>>"$share/console"
# Also hides the lock that virtiofsd keeps in /run.
mount -t tmpfs run /run
mkdir /run/root
mount --rbind / /run/root
mount -o remount,bind,ro /run/root
mount --bind "$share" "/run/root$share"

setpriv --pdeathsig KILL /usr/lib/qemu/virtiofsd --socket-path="$share/socket" \
  -o source=/run/root -o cache=always -o sandbox=chroot >>"$share/console" &
until [ -S "$share/socket" ]; do
  kill -0 $! || exit
  sleep 0.02
done
exec setpriv --pdeathsig KILL "$@"
