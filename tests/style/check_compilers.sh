#!/bin/sh
# SPDX-License-Identifier: MIT
# Every source file (program, tests, benches, guest) compiles without a warning with gcc and with clang, under the flags
# of the Makefile. Only the compiler's first pass, so that it is quick. Prints "N passed, N failed, N skipped" last.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/files.sh
passed=0 failed=0 skipped=0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# The Makefile's own words for warnings and architecture: one place to change them.
warn=$(sed -n 's/^WARN[[:space:]]*:=//p' Makefile | sed 's/\$(if.*//')
flags="-std=c11 -D_GNU_SOURCE -O2 -march=x86-64-v2 $warn -Werror -I. -fno-strict-aliasing -fsyntax-only"
hosted="$flags -I$tmp/include $(pkg-config --cflags glib-2.0 gmodule-2.0 json-glib-1.0 libxxhash libzstd liblz4 check)"
freestanding="$flags -mgeneral-regs-only -mno-red-zone -ffreestanding -fPIE -include workloads/guest/kvm/hidden.h"

# The example of a policy includes the header by the name that it has once installed.
mkdir -p "$tmp/include/overbook" && cp vmm/policy.h "$tmp/include/overbook/"

files '*.c' | grep -v '^workloads/guest/kvm/' >"$tmp/hosted"
files 'workloads/*.c' 'workloads/guest/*.c' >"$tmp/freestanding"

compile() { # compile NAME COMPILER LIST FLAGS: as many files as there are processors at a time
	xargs -P "$(nproc)" -n 8 "$2" $4 <"$tmp/$3" >"$tmp/log" 2>&1
	if [ $? -eq 0 ] && [ ! -s "$tmp/log" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "$1:"
		head -40 "$tmp/log"
	fi
}

for cc in gcc clang; do
	if ! command -v $cc >/dev/null; then
		skipped=$((skipped + 1))
		echo "SKIP: $cc is not installed"
		continue
	fi
	compile "$cc, hosted" $cc hosted "$hosted"
	compile "$cc, freestanding" $cc freestanding "$freestanding"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
