#!/bin/sh
# What if something fails on the way? A guest that cannot go on, a host without memory, one run of many that cannot
# start, Ctrl-C, no gnuplot, a full disk, a directory that cannot be written: the status says so, the message is clear,
# what was measured is kept, and nothing else is left behind.
set -u
cd "$(dirname "$0")/../.." || exit 1
overbook=$PWD/${B:-build}/overbook
tmp=$(mktemp -d) || exit 1
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
passed=0 failed=0 skipped=0

check() { # check SENTENCE COMMAND...
	what=$1
	shift
	if "$@" >"$tmp/out" 2>"$tmp/new"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not so: $what"
		tail -5 "$tmp/new"
	fi
	[ "${1%_once}" = said ] || mv "$tmp/new" "$tmp/err"
}
status() { # status WANTED COMMAND...
	wanted=$1
	shift
	"$@"
	[ $? -eq "$wanted" ]
}
said() { grep -q "$1" "$tmp/err"; }
said_once() { said "$1" && [ "$(grep -c . "$tmp/err")" -eq 1 ]; }
empty() { [ -z "$(ls -A "$1")" ]; }
mkdir "$tmp/w"

cat >"$tmp/oom.ini" <<'END'
[experiment]
sample-interval = 1 ms
[host]
memory = 96 MiB
[vm a]
memory = 128 MiB
arena = 8 MiB
workload = w
[vm b]
memory = 16 MiB
workload = s
[workload w]
phases = p
[phase p]
pattern = sequential
step = 4 KiB
size = 112 MiB
operations = 40000
writes = 100%
[workload s]
phases = s
[phase s]
pattern = uniform
size = 1 MiB
operations = 1000
END
for mode in ept shadow pv; do
	check "$mode: the host out of memory is status 1" status 1 "$overbook" run "$tmp/oom.ini" -q --no-figures \
		--set vm.paging=$mode -o "$tmp/w/$mode"
	check "$mode: one line says which VM and why" said_once 'VM "a" failed: .*the host has no memory'
	check "$mode: results are kept" grep -q '"a" : "' "$tmp/w/$mode/summary.json"
	check "$mode: and those of the other VM" grep -q '"b" : "[0-9a-f]\{16\}"' "$tmp/w/$mode/summary.json"
	check "$mode: the report says so" grep -q 'the host has no memory' "$tmp/w/$mode/report.html"
done
check 'native: what can never start is bad input' status 2 "$overbook" run "$tmp/oom.ini" -q --set vm.paging=native \
	-o "$tmp/w/native"
check 'and leaves nothing' test ! -e "$tmp/w/native"

# A host of 8 MiB has no memory for an arena of 8 MiB: that VM cannot start.
cat "$tmp/oom.ini" - >"$tmp/vary.ini" <<'END'
[vary]
vm a.paging = ept, shadow
host.memory = 8 MiB, 96 MiB, 512 MiB
END
check 'of many, some cannot start and some fail' status 1 "$overbook" run "$tmp/vary.ini" -q --no-figures --jobs 2 \
	-o "$tmp/w/vary"
check 'it says which cannot start' said 'cannot start'
check 'and which VM of which run failed' said 'memory=96MiB: VM "a" failed'
check 'the others are kept' sh -c 'test "$(ls -d "$1"/w/vary/*/summary.json | wc -l)" -eq 4' - "$tmp"
check 'and in the table' sh -c 'test "$(grep -c ,host, "$1/w/vary/summary.csv")" -eq 4' - "$tmp"
check 'what could not start is not' sh -c '! ls -d "$1"/w/vary/*=8?MiB*' - "$tmp"
check 'a guest without memory loses a process, not the run' \
	"$overbook" run "$tmp/oom.ini" -q --no-figures --set host.memory=512MiB \
	--set phase\ p.size=200MiB -o "$tmp/w/guest-oom"
check 'and counts it' grep -q '"guest_oom_kills" : 1' "$tmp/w/guest-oom/summary.json"
rm -rf "$tmp/w" && mkdir "$tmp/w"

interrupt() { # interrupt DIR OPTION...: run for ever, SIGINT once it has begun
	dir=$1
	shift
	"$overbook" run "$tmp/long.ini" -q --no-figures -o "$dir" "$@" &
	pid=$!
	sleep 0.7
	kill -INT $pid
	wait $pid
}
sed 's/^operations = .*$/operations = 1000000000/; s/^memory = 96/memory = 512/' "$tmp/oom.ini" >"$tmp/long.ini"
check 'SIGINT ends a run' interrupt "$tmp/w/int"
check 'and keeps it' grep -q '"interrupted" : true' "$tmp/w/int/summary.json"
check 'SIGINT during the warm-up' status 1 interrupt "$tmp/w/warm" --set 'experiment.warm-up=1000 s'
check 'says so' said 'interrupted .*warm-up'
check 'SIGINT ends many' interrupt "$tmp/w/many" --set experiment.repeats=4 --jobs 2
check 'and keeps what has begun' test "$(grep -l '"interrupted" : true' "$tmp"/w/many/*/summary.json | wc -l)" -eq 2
rm -rf "$tmp/w" && mkdir "$tmp/w" "$tmp/bin"

ln -s "$(command -v sh)" "$tmp/bin/sh"
check 'without gnuplot' env PATH="$tmp/bin" "$overbook" run workloads/hello.ini -o "$tmp/w/nognu"
check 'one line says so' said 'no figures: .*gnuplot'
check 'has results all the same' test -s "$tmp/w/nognu/summary.json" -a -s "$tmp/w/nognu/report.html"
rm -rf "$tmp/w/nognu"
check 'a file in the way' status 2 "$overbook" run workloads/hello.ini -q -o "$tmp/long.ini/x"
check 'one line says so' said_once 'cannot write there'
if [ "$(id -u)" -ne 0 ]; then
	chmod a-w "$tmp/w"
	check 'a directory that cannot be written' status 2 "$overbook" run workloads/hello.ini -q -o "$tmp/w/x"
	chmod u+w "$tmp/w"
elif mkdir "$tmp/small" && mount -t tmpfs -o size=64k none "$tmp/small" 2>/dev/null; then
	check 'a full disk' \
		status 1 "$overbook" run workloads/hello.ini -q --set 'experiment.sample-interval=50 us' \
		-o "$tmp/small/x"
	check 'one line says so' said_once 'No space left'
	check 'leaves nothing' empty "$tmp/small"
	check 'a full disk, event log' status 1 "$overbook" run workloads/hello.ini -q --set experiment.events=yes \
		--set 'experiment.sample-interval=50 us' \
		-o "$tmp/small/x"
	check 'leaves nothing' empty "$tmp/small"
	umount "$tmp/small"
else
	echo 'SKIP: a full disk: cannot mount a small file system'
	skipped=$((skipped + 1))
fi
check 'nothing is left' empty "$tmp/w"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
