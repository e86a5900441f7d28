#!/bin/sh
# Run test programs and scripts, show what failed, and close with one line: N passed, N failed, N skipped.
#
# A check(3) program prints "NN%: Checks: N, Failures: N, Errors: N". A script's last line is "N passed, N failed, N
# skipped". Either may print "SKIP: why" lines, which are shown; for a program each counts as one skipped suite. With
# RUN_TIMEOUT=SECONDS what takes longer is ended and has failed.
set -u
# check(3), when it is ended, ends its whole process group; that must not be ours.
watchdog=${RUN_TIMEOUT:+setsid timeout -k 5 $RUN_TIMEOUT}
passed=0 failed=0 skipped=0
log=$(mktemp -d) || exit 1
trap 'rm -rf "$log"' EXIT

# "passed failed skipped" of the output in $log/out
totals() {
	awk '
		/^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+$/ {
			gsub(/[^0-9]+/, " ")
			bad += $3 + $4
			good += $2 - $3 - $4
		}
		/^SKIP: / { skip++ }
		{ last = $0 }
		END {
			if (last ~ /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/) {
				split(last, n, /[^0-9]+/)
				good += n[1]
				bad += n[2]
				skip = n[3]
			}
			printf "%d %d %d\n", good, bad, skip
		}' "$log/out"
}

for t in "$@"; do
	name=${t#build/}
	begun=$(date +%s)
	# shellcheck disable=SC2086
	$watchdog "./$t" >"$log/out" 2>&1
	status=$?
	took=$(($(date +%s) - begun))
	[ $took -ge 10 ] && took=" ($took s)" || took=
	read -r n bad s <<-EOF
		$(totals)
	EOF
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
	fi
	passed=$((passed + n)) failed=$((failed + bad)) skipped=$((skipped + s))
	if [ "$bad" -ne 0 ]; then
		printf '  FAIL    %s (status %d)%s\n' "$name" "$status" "$took"
		sed 's/^/    /' "$log/out" | tail -40
	else
		printf '  ok      %-40s %d%s\n' "$name" "$n" "$took"
		sed -n 's/^SKIP: /  SKIP    /p' "$log/out"
	fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
