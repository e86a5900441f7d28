# SPDX-License-Identifier: MIT
# check.sh - what the scripts of tests/cli share; each begins with: . tests/lib/check.sh, in the root of the tree
#
# $overbook is the program, $tmp a folder that goes when the script ends. A sentence that should hold is one line,
# check SENTENCE COMMAND...; a script ends with finish.
# shellcheck shell=sh disable=SC2034
set -u
overbook=$PWD/${B:-build}/overbook
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0 skipped=0

check() { # check SENTENCE COMMAND...: it succeeds; what it says is in $tmp/out and $tmp/err
	what=$1
	shift
	if "$@" >"$tmp/out" 2>"$tmp/err"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not so: $what"
		tail -5 "$tmp/err"
	fi
}
not() { ! "$@"; }
status() { # status WANTED COMMAND...
	wanted=$1
	shift
	"$@"
	[ $? -eq "$wanted" ]
}
skip() { # skip WHY
	skipped=$((skipped + 1))
	echo "SKIP: $1"
}
finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
	exit
}
