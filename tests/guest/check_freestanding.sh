#!/bin/sh
# SPDX-License-Identifier: MIT
# The guest's sources (workloads/*.c, workloads/guest/*.c, balloon/driver*.c) must compile without a C library, for
# CPL 3 of a real guest, and together need nothing but hal_*() and the four functions that a compiler may call on its
# own (GCC manual, "Standards"). One check a file and compiler, one for the symbols of all. Prints "N passed, N
# failed, N skipped" last.
set -u
cd "$(dirname "$0")/../.." || exit 1
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
passed=0 failed=0 skipped=0
flags='-std=c11 -O2 -ffreestanding -nostdlib -fno-strict-aliasing -fno-stack-protector -fno-pic -mno-red-zone
	-mgeneral-regs-only -Wall -Wextra -Werror -I.'

for cc in gcc clang; do
	if ! command -v $cc >/dev/null; then
		echo "SKIP: no $cc to compile the guest with"
		skipped=$((skipped + 1))
		continue
	fi
	mkdir "$out/$cc"
	for f in workloads/*.c workloads/guest/*.c balloon/driver*.c; do
		# shellcheck disable=SC2086
		if $cc $flags -c "$f" -o "$out/$cc/$(basename "$f" .c).o"; then
			passed=$((passed + 1))
		else
			echo "$f does not compile freestanding with $cc"
			failed=$((failed + 1))
		fi
	done
	defined=$(nm --defined-only -g "$out/$cc"/*.o | awk 'NF == 3 { print $3 }' | sort -u)
	foreign=$(nm -u "$out/$cc"/*.o | awk '$1 == "U" { print $2 }' | sort -u |
		grep -vxE 'hal_[a-z_]+|mem(cpy|set|move|cmp)' | grep -vxF "$defined")
	writable=$(nm "$out/$cc"/*.o | awk 'NF == 3 && $2 ~ /^[bBdDC]$/ { print $3 }')
	if [ -z "$foreign$writable" ]; then
		passed=$((passed + 1))
	else
		echo "with $cc, the guest needs: $foreign; has state outside its arena: $writable"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
