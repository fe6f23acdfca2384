#!/bin/sh
# Runs a command in private mount and network namespaces, with empty file
# systems over /run and /var/lib/cni, so that a wrong test cannot touch this
# machine:
#
#   tests/harness/private.sh deno test -A tests/bridge_test.ts
#
# The marker file tells tests that they are inside; it names the namespace.
set -eu
[ $# -gt 0 ] || { echo "usage: private.sh COMMAND [ARGUMENT]..." >&2; exit 2; }
exec unshare --mount --net --propagation private -- sh -eu -c '
# A file system that cannot be written, or no right to: all of /var/lib is covered then.
mkdir -p /var/lib/cni 2>/dev/null || {
  mount -t tmpfs -o mode=0755 denocni /var/lib
  mkdir /var/lib/cni
}
mount -t tmpfs -o mode=0755 denocni /run
mount -t tmpfs -o mode=0755 denocni /var/lib/cni
mkdir -p /run/netns /run/lock
stat -L -c %i /proc/self/ns/net >/run/denocni-private
ip link set lo up
export DENOCNI_PRIVATE=1
exec "$@"
' private "$@"
