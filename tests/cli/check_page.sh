#!/bin/sh
# overbook page as a user runs it: the history of a page, and one clear message for each way to ask for it wrongly.
set -u
cd "$(dirname "$0")/../.." || exit 1
overbook=$PWD/${B:-build}/overbook
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

check() { # check SENTENCE COMMAND...
	what=$1
	shift
	if "$@" >"$tmp/log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not so: $what"
		tail -5 "$tmp/log"
	fi
}
refused() { # refused WORDS ARGS...: status 2, nothing on stdout, one line on stderr with these words
	words=$1
	shift
	"$overbook" page "$@" >"$tmp/out" 2>"$tmp/err"
	status=$?
	cat "$tmp/err"
	[ $status -eq 2 ] && [ ! -s "$tmp/out" ] && [ "$(wc -l <"$tmp/err")" -eq 1 ] && grep -q -e "$words" "$tmp/err"
}
history() { # history GFN: into $tmp/out
	"$overbook" page "$tmp/run" b "$1" >"$tmp/out" 2>"$tmp/err"
}

cat >"$tmp/small.ini" <<'END'
[experiment]
title = Small
question = What happened to this page?
events = yes
[host]
memory = 512 MiB
[vm a]
memory = 64 MiB
workload = w
[vm b]
memory = 64 MiB
workload = w
[workload w]
phases = p
[phase p]
pattern = sequential
size = 1 MiB
operations = 2000
END

check 'a run with events' "$overbook" run "$tmp/small.ini" -q --no-figures -o "$tmp/run"
# Somewhere above the arena lies a page that the guest touched; the arena's end depends on the guest, so look for it.
gfn=
for g in $(seq 512 512 16384) $(seq 1024 100 16384); do
	history "$g" && [ -s "$tmp/out" ] && gfn=$g && break
done
check 'some page has a history' test -n "$gfn"
check 'which begins with a first touch' \
	grep -Eq '^ +[0-9]+\.[0-9]{9}  absent +-> resident +fault +0x[0-9a-f]+  4K$' "$tmp/out"
check 'under a heading' grep -q '^ *time (s)' "$tmp/out"
cp "$tmp/out" "$tmp/decimal"
check 'in hexadecimal' history "$(printf '0x%x' "$gfn")"
check 'the same' cmp "$tmp/out" "$tmp/decimal"
check 'a page of the arena has none' history 1
check 'and says so on stderr' grep -q 'never touched, or in the arena' "$tmp/err"
check 'stdout stays empty' test ! -s "$tmp/out"

check 'no arguments' refused 'DIR VM GFN'
check 'too many' refused 'DIR VM GFN' "$tmp/run" b 1 2
check 'no directory' refused 'no run directory' "$tmp/nowhere" b 1
check 'no such VM' refused 'there are: a, b' "$tmp/run" c 1
for bad in x 0x 12x 0xfg -1 1.5 '' 99999999999999999999999; do
	check "page number \"$bad\"" refused . "$tmp/run" b "$bad"
done
mv "$tmp/run/events.zst" "$tmp/log.zst"
check 'no log' refused 'events = yes' "$tmp/run" b 1
head -c 40 "$tmp/log.zst" >"$tmp/run/events.zst"
check 'a log cut short' refused 'cut short' "$tmp/run" b 1
echo hello >"$tmp/run/events.zst"
check 'no log at all' refused 'not an event log' "$tmp/run" b 1
echo '{' >"$tmp/run/manifest.json"
check 'a damaged manifest' refused 'no run directory' "$tmp/run" b 1
echo '{"vms": 7}' >"$tmp/run/manifest.json"
check 'a manifest without VMs' refused 'names no VMs' "$tmp/run" b 1

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
