#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: MIT
# init.sh - the first process of the machine that run.sh boots: insert KVM, run the programs, end the machine
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
mkdir -p /var/tmp
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/tmp
ln -s /proc/self/fd /dev/fd

# run.sh says npt, scale, limit and B on the kernel's command line.
npt=1 scale=1 limit=600 B=build
# shellcheck disable=SC2013
for word in $(cat /proc/cmdline); do
	case $word in npt=* | scale=* | limit=* | B=*) eval "$word" ;; esac
done
while read -r module; do
	options=
	[ "$module" != kvm-amd ] || options=npt=$npt
	# shellcheck disable=SC2086
	insmod "/modules/$module.ko" $options
done </modules/order

# Without the KVM that was asked for every suite would be skipped, which must not pass for success: no END.
case $npt$(cat /sys/module/kvm_amd/parameters/npt) in
0N | 1Y) [ -c /dev/kvm ] ;;
*) false ;;
esac || {
	echo "kvm_amd does not work with npt=$npt"
	poweroff -f
}
export B OVERBOOK_TEST_SCALE="$scale" CK_DEFAULT_TIMEOUT=60 RUN_TIMEOUT="$limit" HOME=/tmp
cd /overbook || poweroff -f
echo "BEGIN npt=$(cat /sys/module/kvm_amd/parameters/npt)"
# shellcheck disable=SC2046
sh tests/run.sh $(cat programs)
echo "END $?"
poweroff -f
