#!/bin/sh
# Small runs must give the bytes that are checked in: tests/golden/NAME.ini against tests/golden/NAME/. With --rewrite
# (make golden) the bytes are replaced: review the diff, it says what a change did to every count.
set -u
cd "$(dirname "$0")/../.." || exit 1
overbook=${B:-build}/overbook
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

for ini in tests/golden/*.ini; do
	name=$(basename "$ini" .ini)
	if ! "$overbook" run "$ini" -q --no-figures -o "$tmp/$name"; then
		echo "$ini: does not run"
		failed=$((failed + 1))
		continue
	fi
	for file in samples.csv summary.json; do
		if [ "${1:-}" = --rewrite ]; then
			mkdir -p "tests/golden/$name"
			cp "$tmp/$name/$file" "tests/golden/$name/$file"
		fi
		if diff -u "tests/golden/$name/$file" "$tmp/$name/$file" >"$tmp/diff"; then
			passed=$((passed + 1))
		else
			echo "$name/$file differs from what is checked in (make golden rewrites it):"
			head -20 "$tmp/diff"
			failed=$((failed + 1))
		fi
	done
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
