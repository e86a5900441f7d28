#!/bin/sh
# overbook as a user runs it: results whole or absent, bytes that depend on the file and the seed alone, the files that
# a run promises, and figures that gnuplot draws again by hand.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
silent_dir() { [ -z "$(ls -A "$1")" ]; }

cat >"$tmp/vary.ini" <<'END'
[experiment]
title = Small
question = Which is it?
schedule = free
sample-interval = 200 us
[host]
memory = 512 MiB
[vm a]
memory = 64 MiB
workload = w
[workload w]
processes = 2
phases = p
[phase p]
pattern = zipf
size = 4 MiB
operations = 20000
writes = 30%
[vary]
vm.paging = shadow, ept
experiment.seed = 1, 2
END

check 'hello runs' "$overbook" run workloads/hello.ini -q -o "$tmp/hello"
for f in experiment.ini manifest.json samples.csv summary.json report.html figures/time.svg; do
	check "hello leaves $f" test -s "$tmp/hello/$f"
done
check 'the canonical experiment runs' "$overbook" run "$tmp/hello/experiment.ini" -q --no-figures -o "$tmp/again"
check 'and gives the same samples' cmp "$tmp/hello/samples.csv" "$tmp/again/samples.csv"
check 'and the same summary' cmp "$tmp/hello/summary.json" "$tmp/again/summary.json"
check 'figures can be drawn by hand' \
	sh -c "cd '$tmp/hello' && rm figures/time.svg && gnuplot figures/time.gp && test -s figures/time.svg"
check 'report works on a finished run' "$overbook" report "$tmp/hello"
check 'compare finds a run equal to itself' "$overbook" compare "$tmp/hello" "$tmp/again"
check 'an existing directory is not touched' status 2 "$overbook" run workloads/hello.ini -q -o "$tmp/hello"
check '--force replaces it' "$overbook" run workloads/hello.ini -q --no-figures --force -o "$tmp/hello"

check 'a slash at the end' "$overbook" run workloads/hello.ini -q --no-figures -o "$tmp/slash/"
check 'is only a slash' test -s "$tmp/slash/summary.json"
mkdir "$tmp/mine" "$tmp/void" && echo precious >"$tmp/mine/file" && ln -s nowhere "$tmp/dangling"
check '--force replaces nothing that is no run' status 2 "$overbook" run workloads/hello.ini -q --force -o "$tmp/mine"
check 'so a file survives' grep -q precious "$tmp/mine/file"
check 'an empty directory, it does' "$overbook" run workloads/hello.ini -q --no-figures --force -o "$tmp/void"
check 'a dangling link is in the way' status 2 "$overbook" run workloads/hello.ini -q -o "$tmp/dangling"
check 'an empty name' status 2 "$overbook" run workloads/hello.ini -q -o ''
check 'vary with one job' "$overbook" run "$tmp/vary.ini" -q --jobs 1 -o "$tmp/one"
check 'vary with two jobs' "$overbook" run "$tmp/vary.ini" -q --jobs 2 --no-figures -o "$tmp/two"
check 'they leave the same table' cmp "$tmp/one/summary.csv" "$tmp/two/summary.csv"
for d in "$tmp"/one/*/; do
	n=$(basename "$d")
	[ -e "$d/summary.json" ] || continue
	check "same samples in $n" cmp "$d/samples.csv" "$tmp/two/$n/samples.csv"
	check "same summary in $n" cmp "$d/summary.json" "$tmp/two/$n/summary.json"
done
mkdir "$tmp/far"
printf '[profile]\nbase = zen3\nexit_cycles = 4321\n' >"$tmp/far/mine.ini"
cp "$tmp/vary.ini" "$tmp/far/one.ini"
sed 's/^vm.paging = .*/host.profile = .\/mine.ini, bare/' "$tmp/vary.ini" >"$tmp/far/vary.ini"
check 'a profile of ones own' \
	"$overbook" run "$tmp/far/one.ini" -q --no-figures --set host.profile=mine.ini -o "$tmp/own"
check 'a varied one' "$overbook" run "$tmp/far/vary.ini" -q --no-figures -o "$tmp/owns"
check 'is run again from the canonical experiment' \
	"$overbook" run "$tmp/owns/experiment.ini" -q --no-figures -o "$tmp/owns2"
rm -r "$tmp/far"
check 'without the file that it was in' "$overbook" run "$tmp/own/experiment.ini" -q --no-figures -o "$tmp/own2"
check 'and gives the same table' cmp "$tmp/own/summary.csv" "$tmp/own2/summary.csv"
check 'repeats make means' "$overbook" run workloads/hello.ini -q --no-figures --set experiment.repeats=3 -o "$tmp/rep"
check 'a command line that a shell takes again' sh -c "
	'$overbook' run workloads/hello.ini -q --no-figures --set 'vm.memory=128 MiB' -o '$tmp/cl' &&
	grep -qF -e \"--set 'vm.memory=128 MiB' -o\" '$tmp/cl/manifest.json'"
check 'with confidence' grep -q _ci95 "$tmp/rep/means.csv"
check 'the event log tells of a page' sh -c "
	'$overbook' run workloads/hello.ini -q --no-figures --set experiment.events=yes -o '$tmp/ev' &&
	vm=\$(sed -n 's/^\[vm \(.*\)\]/\1/p' '$tmp/ev/experiment.ini' | head -1) &&
	'$overbook' page '$tmp/ev' \"\$vm\" 4096 | grep -qi resident"

"$overbook" run "$tmp/vary.ini" -q --jobs 1 --no-figures --set 'phase p.operations=0' --set 'experiment.duration=3 s' \
	-o "$tmp/stopped" 2>"$tmp/err" &
pid=$!
until [ -n "$(find "$tmp" -maxdepth 2 -path '*stopped*' -name 'paging=*')" ] || ! kill -0 $pid; do
	sleep 0.05
done
kill -INT $pid "$(pgrep -P $pid)" 2>/dev/null
wait $pid
check 'Ctrl-C ends a series of runs: status 0' test $? -eq 0
check 'what was measured is kept' grep -q ',host,' "$tmp/stopped/summary.csv"
check 'and says so' grep -q '"interrupted" : true' "$tmp/stopped/paging=shadow,seed=1/summary.json"
check 'the rest was not begun' test ! -e "$tmp/stopped/paging=ept,seed=2"

mkdir "$tmp/empty"
for bad in 'run' 'run nosuch.ini' 'run workloads/hello.ini extra' 'run workloads/hello.ini --set vm.nokey=1' \
	'run workloads/hello.ini --set vm.memory=lots' 'run workloads/hello.ini --set nonsense' \
	'run workloads/hello.ini --machine vax' 'run workloads/hello.ini --jobs 0' 'run workloads/hello.ini --seed x' \
	'run workloads/hello.ini --nosuchoption' 'report' 'report /nonexistent' 'compare one' 'compare /a /b' \
	'list' 'list nonsense' 'nosuchverb' 'page' 'page /nonexistent a 1' 'doctor now'; do
	# shellcheck disable=SC2086
	check "status 2: $bad" sh -c "cd '$tmp/empty' && cp -r '$PWD/workloads' . && '$overbook' $bad
		s=\$?; rm -rf workloads; [ \$s -eq 2 ]"
	check "nothing left by: $bad" silent_dir "$tmp/empty"
	check "one message: $bad" test "$(grep -c . "$tmp/err")" -le 1
done
check 'help' "$overbook" --help
check 'doctor' "$overbook" doctor
finish
