#!/bin/sh
# SPDX-License-Identifier: MIT
# --machine kvm as a user runs it: the same digest as the simulator's, what is not supported refused with status 2, what
# the host lacks told with status 3. Prints "N passed, N failed, N skipped" last.
set -u
cd "$(dirname "$0")/../.." || exit 1
overbook=$PWD/${B:-build}/overbook
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

ok() { # ok SENTENCE STATUS
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not so: $1"
		tail -3 "$tmp/err"
	fi
}
run() { # run DIRECTORY ARGUMENTS...
	dir=$1
	shift
	"$overbook" run workloads/hello.ini -q -o "$tmp/$dir" "$@" >"$tmp/out" 2>"$tmp/err"
}
says() { grep -q -- "$1" "$tmp/err"; }

run kvm --machine kvm --set 'phase serve.operations=20000'
status=$?
if [ $status -eq 3 ]; then
	says /dev/kvm || says userfaultfd
	ok "what this host lacks is named" $?
	[ ! -e "$tmp/kvm" ]
	ok "no directory is left behind" $?
	echo "SKIP: $(cat "$tmp/err")"
	echo "$passed passed, $failed failed, 1 skipped"
	[ $failed -eq 0 ]
	exit
fi
ok "hello.ini runs on kvm" $status
run sim --machine sim --set 'phase serve.operations=20000'
ok "and on sim" $?
digest() { sed -n 's/.*"digest" *: *\({[^}]*}\).*/\1/p' "$1"; }
tr -d '\n' <"$tmp/kvm/summary.json" >"$tmp/kvm.json"
tr -d '\n' <"$tmp/sim/summary.json" >"$tmp/sim.json"
[ -n "$(digest "$tmp/kvm.json")" ] && [ "$(digest "$tmp/kvm.json")" = "$(digest "$tmp/sim.json")" ]
ok "both end with one digest" $?

run free --machine kvm --set experiment.schedule=free --set 'phase serve.operations=20000'
ok "hello.ini runs in the free schedule" $?
tr -d '\n' <"$tmp/free/summary.json" >"$tmp/free.json"
[ "$(digest "$tmp/free.json")" = "$(digest "$tmp/sim.json")" ]
ok "and ends with that digest, too" $?

run refused --machine kvm --set 'swap.size=4 TiB'
[ $? -eq 3 ] && says '\[swap\] size' && says free && [ ! -e "$tmp/refused" ]
ok "a swap file larger than its disk is refused with status 3" $?
run refused --machine kvm --set 'swap.size=4 TiB' --set swap.engine=kernel
[ $? -eq 3 ] && says 'engine = kernel' && [ ! -e "$tmp/refused" ]
ok "engine = kernel on a host with less swap is refused with status 3" $?
for set in vm.paging=pv vm.levels=5 vm.dirty-log=pml; do
	run refused --machine kvm --set $set
	[ $? -eq 2 ] && says "${set##*=}" && says kvm && [ ! -e "$tmp/refused" ]
	ok "$set is refused by name, with status 2, leaving nothing" $?
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
