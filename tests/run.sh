#!/bin/sh
# Run test programs and scripts, show what failed, and close with one line: N passed, N failed, N skipped.
#
# A check(3) program prints "NN%: Checks: N, Failures: N, Errors: N". A script prints "passed N" and "failed N" as its
# last words. Either may print "SKIP: why" lines: each counts as one skipped suite and is shown.
set -u
passed=0 failed=0 skipped=0
log=$(mktemp -d) || exit 1
trap 'rm -rf "$log"' EXIT
for t in "$@"; do
	name=${t#build/}
	"./$t" >"$log/out" 2>&1
	status=$?
	p=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$log/out" |
		awk '{ c += $1; b += $2 + $3 } END { printf "%d %d", c - b, b }')
	n=${p% *} bad=${p#* }
	s=$(grep -c '^SKIP: ' "$log/out")
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
	fi
	passed=$((passed + n)) failed=$((failed + bad)) skipped=$((skipped + s))
	if [ "$bad" -ne 0 ]; then
		printf '  FAIL    %s (status %d)\n' "$name" "$status"
		sed 's/^/    /' "$log/out" | tail -40
	else
		printf '  ok      %-40s %d\n' "$name" "$n"
		sed -n 's/^SKIP: /  SKIP    /p' "$log/out"
	fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
