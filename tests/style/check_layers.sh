#!/bin/sh
# The house keeps its floors: who may include whom (DESIGN: "The house"), every header stands alone, no file is too
# long, and nothing is left undone. Prints one line per offence and closes with N passed, N failed, N skipped.
set -u
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
rule 'only vmm/kvm includes <linux/kvm.h>' "$(grep -rln '<linux/kvm.h>' --include='*.[ch]' . | grep -v '^\./vmm/kvm/')"
rule 'includes are written from the root' "$(grep -rnE 'include "(\.\./|[^/"]+")' --include='*.[ch]' mm shadow ept balloon dedup vmm workloads | grep -v 'guest_image')"
rule 'only the agreed top-level folders' \
	"$(git ls-files 2>/dev/null | cut -d/ -f1 | sort -u | grep -vxE 'mm|shadow|ept|balloon|dedup|vmm|workloads|tests|results|docs|\.ci|Makefile|README.md|LICENSE|CITATION.cff|\.gitignore|\.clang-format|\.clang-tidy')"
rule 'files are at most 700 lines' "$(git ls-files '*.c' '*.h' '*.S' | xargs -r wc -l | awk '$2 != "total" && $1 > 700 { print $2 ": " $1 }')"
rule 'nothing is left undone' "$(git ls-files '*.[chS]' '*.sh' Makefile | xargs -r grep -nwE 'TODO|FIXME|XXX' | grep -v check_layers.sh)"

flags="-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -I. $(pkg-config --cflags glib-2.0 json-glib-1.0)"
alone=
for h in $(git ls-files 'mm/*.h' 'shadow/*.h' 'ept/*.h' 'vmm/*.h' 'workloads/*.h'); do
	# shellcheck disable=SC2086
	printf '#include "%s"\n' "$h" | ${CC:-cc} $flags -fsyntax-only -x c - 2>/dev/null || alone="$alone $h"
done
rule 'every header compiles alone' "$alone"

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
