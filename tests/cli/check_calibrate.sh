#!/bin/sh
# SPDX-License-Identifier: MIT
# overbook calibrate as a user runs it: the profile is one, runs use it, and what this host lacks is said in it.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh

sed 's/^operations = .*/operations = 1000/' workloads/hello.ini >"$tmp/short.ini"
run() { "$overbook" run "$tmp/short.ini" --machine sim -q --no-figures --set "host.profile=$tmp/host.ini" -o "$@"; }

check 'calibrate --quick' "$overbook" calibrate --quick -o "$tmp/host.ini"
cp "$tmp/out" "$tmp/table"
check 'it prints what it measured' grep -qE '^page compressed, lz4 +[0-9]+' "$tmp/table"
check 'a run accepts the profile' run "$tmp/one"
check 'a second run is the same, byte by byte' sh -c "
	'$overbook' run '$tmp/one/experiment.ini' -q --no-figures -o '$tmp/two' &&
	cmp '$tmp/one/summary.json' '$tmp/two/summary.json'"
check 'each number has its spread beside it' \
	sh -c "grep -B1 '^mem_cycles = ' '$tmp/host.ini' | grep -E '^# .* ns \(.* to .*\)'"
for field in mhz l1d_cycles mem_cycles zero_page_cycles checksum_cycles compress_cycles lz4_decompress_cycles; do
	check "$field is measured" grep -qE "^$field = [1-9]" "$tmp/host.ini"
done
check 'what is not measured is listed' grep -qE '^#.* walk_start_cycles' "$tmp/host.ini"
if [ -w /dev/kvm ]; then
	for field in exit_cycles exception_cycles; do
		check "$field is measured" grep -qE "^$field = [1-9]" "$tmp/host.ini"
	done
else
	skip 'no /dev/kvm: exits and faults are not measured'
	check 'the profile says so' grep -qE '^# exit from CPL 3 and back: not measured: /dev/kvm' "$tmp/host.ini"
fi
check 'nothing is printed with --quiet' sh -c "'$overbook' calibrate --quick -q -o '$tmp/quiet.ini' 2>&1 | (! grep .)"
check 'a file is needed' status 2 "$overbook" calibrate
check 'a file that runs take for one' status 2 "$overbook" calibrate -o profile
check 'one that can be written' status 1 "$overbook" calibrate --quick -q -o "$tmp/none/host.ini"
check 'it takes no experiment' status 2 "$overbook" calibrate -o "$tmp/host.ini" workloads/hello.ini
"$overbook" calibrate --predict "$tmp/host.ini" "$tmp/short.ini" >"$tmp/table" 2>"$tmp/said"
status=$?
if [ $status -eq 3 ]; then
	skip "$(cat "$tmp/said")"
else
	check 'it predicts' test $status -eq 0
	check 'and prints predicted and measured times, and their ratio' \
		grep -qE '^short.ini( +[0-9.]+){5}$' "$tmp/table"
fi
finish
