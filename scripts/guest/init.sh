#!/bin/busybox sh
# The first program of a guest: makes this machine's root file system the guest's, under a layer
# in memory that takes what the guest writes, and starts the script of the folder that both share.
# The kernel's command line gives the folders `share` and `modules`.
export PATH=/bin
/bin/busybox mkdir -p /proc /host /layer /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
# Whatever fails has said why: that is the end of the console then.
set -e
trap 'echo o >/proc/sysrq-trigger; sleep 60' EXIT

for module in /modules/*; do insmod "$module"; done

mount -t virtiofs host /host
mount -t tmpfs -o mode=0755 layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /root

cd /root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t devtmpfs dev dev
mkdir dev/pts dev/shm
mount -t devpts devpts dev/pts
mount -t tmpfs shm dev/shm
ln -s /proc/self/fd dev/fd
for number in 0:stdin 1:stdout 2:stderr; do
  ln -s "/proc/self/fd/${number%:*}" "dev/${number#*:}"
done
mount -t tmpfs -o mode=0755 run run
mkdir -p run/netns "lib/modules/${modules##*/}" ".$share"
mount --bind ".$modules" "lib/modules/${modules##*/}"
mount --bind "/host$share" ".$share"

exec switch_root /root /bin/sh "$share/begin"
