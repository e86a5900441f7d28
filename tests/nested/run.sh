#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh PROGRAM...: run test programs where KVM is kvm_amd, once with npt=1 and once with npt=0, on any Linux machine.
#
# QEMU emulates a processor with SVM in software, boots a stock Debian or Ubuntu kernel there (kernel.sh fetches it)
# and gives it an initramfs with KVM's modules, busybox, the programs, what they load and read, and init.sh, which
# hands them to tests/run.sh. Nothing is installed, and nothing needs root or /dev/kvm.
#
# The programs are those that make check runs, with the shared libraries they name: json-glib and Zydis have no static
# archive in Debian. One virtual processor: with two, npt=0 hangs in QEMU 7.2.
#
# NESTED_NPT   which of the two ("1 0")
# NESTED_WAIT  seconds a boot may take (1800)
# NESTED_LIMIT seconds a suite may take (600)
# OVERBOOK_TEST_SCALE  the divisor of the suites' loops inside (8)
#
# What tests/run.sh prints there comes out under the mode it is of; last comes "N passed, N failed, N skipped". All that
# the kernel said stays in $B/nested/npt*.log.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
work=$B/nested
modes=${NESTED_NPT:-1 0}
limit=${NESTED_WAIT:-1800}
n=$#

# Nothing can run here: once the reason, and every program counts as skipped in every mode.
unable() { # unable REASON
	# shellcheck disable=SC2086
	set -- "$1" $modes
	echo "  SKIP    make check-nested can run NOTHING here: $1"
	echo "0 passed, 0 failed, $((n * ($# - 1))) skipped"
	exit 0
}
for tool in qemu-system-x86_64 busybox cpio ldd; do
	command -v $tool >/dev/null || unable "no $tool (make deps installs it)"
done
! ldd "$(command -v busybox)" >/dev/null 2>&1 || unable "busybox is not static (make deps installs busybox-static)"
mkdir -p "$work" || exit 1
why=$(tests/nested/kernel.sh "$work/kernel" 2>&1) || unable "$why"

# The files, at the places they have in this tree: the tests name them from its root.
root=$work/root
libraries() { ldd "$1" | sed -n 's|^[^/]*\(/[^ ]*\) (0x.*|\1|p'; }
pack() { # pack PROGRAM...
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/modules" "$root/overbook" || return 1
	cp "$(command -v busybox)" "$root/bin/" &&
		cp "$work"/kernel/modules/* "$root/modules/" &&
		cp tests/nested/init.sh "$root/init" &&
		cp -r tests workloads docs "$root/overbook/" || return 1
	echo "$*" >"$root/overbook/programs"
	for p in "$@" "$B/overbook"; do
		mkdir -p "$root/overbook/$(dirname "$p")"
		case $p in
		*.sh) cp "$p" "$root/overbook/$p" ;;
		*) strip -o "$root/overbook/$p" "$p" && libraries "$p" >>"$work/libraries" ;;
		esac || return 1
	done
	sort -u "$work/libraries" | while read -r lib; do
		mkdir -p "$root$(dirname "$lib")"
		cp -L "$lib" "$root$lib" || return 1
	done || return 1
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$work/initramfs"
}
: >"$work/libraries"
pack "$@" || unable "the initramfs cannot be packed"
rm -rf "$root"

# What init.sh reads from the kernel's command line.
settings="scale=${OVERBOOK_TEST_SCALE:-8} limit=${NESTED_LIMIT:-600} B=$B"
boot() { # boot NPT
	timeout -k 5 "$limit" qemu-system-x86_64 -accel tcg -cpu EPYC,+svm,+npt -m 2048 -smp 1 -nodefaults \
		-no-user-config -display none -serial stdio -no-reboot \
		-kernel "$work/kernel/vmlinuz" -initrd "$work/initramfs" \
		-append "console=ttyS0 panic=-1 quiet npt=$1 $settings" \
		</dev/null >"$work/npt$1.log" 2>&1
}
# As long as there are processors, the modes run side by side.
pids=
for npt in $modes; do
	boot "$npt" &
	pids="$pids $!"
	[ "$(nproc)" -gt 1 ] || wait
done
# shellcheck disable=SC2086
wait $pids

# What a boot printed between BEGIN and END; one that has no END failed in the program after the last one it told of.
passed=0 failed=0 skipped=0
for npt in $modes; do
	log=$work/npt$npt.log
	sed -i 's/\r$//' "$log"
	echo "  BOOT    $(sed -n 's/^BEGIN /kvm_amd, /p' "$log") in QEMU"
	sed -n '/^BEGIN /,/^END /p' "$log" | grep '^  '
	if grep -q '^END [01]$' "$log"; then
		read -r p f s <<-END
			$(grep '^[0-9]* passed, [0-9]* failed, [0-9]* skipped$' "$log" | tail -1 | tr -dc '0-9 ')
		END
	else
		p=$(awk '/^  ok / { n += $3 } END { print n + 0 }' "$log")
		f=1 s=0
		ran=$(grep -c '^  \(ok\|FAIL\) ' "$log")
		at=$(echo "$@" | cut -d' ' -f$((ran + 1)))
		echo "  FAIL    npt=$npt: the machine ended, or was ended after $limit s, before its suites did; at $at"
		tail -5 "$log" | sed 's/^/    /'
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	[ "$f" -eq 0 ] || echo "    all that its kernel said: $log"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
