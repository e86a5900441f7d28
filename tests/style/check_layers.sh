#!/bin/sh
# SPDX-License-Identifier: MIT
# The house keeps its floors: who may include whom, every header stands alone, no file, function
# or line is too long, and nothing is left undone. Prints a line per offence, and "N passed, N failed, N skipped" last.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/files.sh
passed=0 failed=0

rule() { # rule NAME OFFENCES
	if [ -z "$2" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		printf '%s:\n%s\n' "$1" "$2"
	fi
}

# includes FOLDER ALLOWED-REGEX: project includes of a folder that are not allowed
includes() {
	grep -rsnE '^#[[:space:]]*include "' "$1" --include='*.[chS]' 2>/dev/null |
		grep -vE "include \"($2)/"
}

rule 'workloads/ includes only workloads/' "$(includes workloads 'workloads')"
rule 'mm/ includes only mm/ and workloads/' "$(includes mm 'mm|workloads')"
for room in shadow ept balloon dedup; do
	rule "$room/ includes only mm/, workloads/ and itself" "$(includes $room "mm|workloads|$room")"
done
rule 'vmm/sim never sees vmm/kvm' "$(grep -rn 'include "vmm/kvm' vmm/sim)"
rule 'vmm/kvm never sees vmm/sim' "$(grep -rn 'include "vmm/sim' vmm/kvm)"
rule 'only vmm/kvm and the tests of KVM itself include <linux/kvm.h>' \
	"$(grep -rln '<linux/kvm.h>' --include='*.[ch]' . |
	grep -vxE '\./vmm/kvm/.*|\./tests/lib/kvm_probe\.c')"
rule 'includes are written from the root' "$(files '*.c' '*.h' | xargs grep -nE 'include "(\.\./|[^/"]+")')"
top='mm|shadow|ept|balloon|dedup|vmm|workloads|tests|results|docs|\.ci|Makefile|README.md|LICENSE|CITATION.cff'
rule 'only the agreed top-level folders' \
	"$(files | cut -d/ -f1 | sort -u | grep -vxE "$top|\.gitignore|\.clang-format|\.clang-tidy")"

sources() { files '*.c' '*.h' '*.S' "$@"; }

rule 'files are at most 700 lines' \
	"$(sources | xargs wc -l | awk '$2 != "total" && $1 > 700 { print $2 ": " $1 }')"
rule 'lines are at most 120 columns, a tab goes to the next multiple of 8' "$(sources '*.sh' .ci | xargs awk '
	length > 60 {
		n = split($0, part, "\t")
		column = 0
		for (i = 1; i <= n; i++)
			column += length(part[i]) + (i < n ? 8 - (column + length(part[i])) % 8 : 0)
		if (column > 120)
			print FILENAME ":" FNR ": " column
	}')"
rule 'functions are at most 60 lines' "$(files '*.c' '*.h' | xargs awk '
	FNR == 1 { start = 0 }
	/^{/ { start = FNR }
	/^}/ && start {
		if (FNR - start - 1 > 60)
			print FILENAME ":" start ": " FNR - start - 1
		start = 0
	}')"
rule 'sources name their licence in the first line' \
	"$(sources | while read -r f; do head -n 1 "$f" | grep -q 'SPDX-License-Identifier: MIT' || echo "$f"; done)"
rule 'include guards are named after folder and file' "$(files '*.h' | while read -r f; do
	guard=OVERBOOK_$(echo "${f%.h}" | sed 's,^[a-z]*/\([a-z]*/\),\1,; s,^lib/,tests/,' | tr 'a-z/' 'A-Z_')_H
	grep -qx "#ifndef $guard" "$f" && grep -qx "#define $guard" "$f" || echo "$f: not $guard"
done)"
rule 'nothing is left undone' \
	"$(sources '*.sh' Makefile | xargs grep -nwE 'TODO|FIXME|XXX' | grep -v check_layers.sh)"

flags="-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -I. $(pkg-config --cflags glib-2.0 json-glib-1.0)"
alone=
for h in $(files '*.h'); do
	# shellcheck disable=SC2086
	printf '#include "%s"\n' "$h" | ${CC:-cc} $flags -fsyntax-only -x c - 2>/dev/null || alone="$alone $h"
done
rule 'every header compiles alone' "$alone"

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
