#!/bin/sh
# SPDX-License-Identifier: MIT
# kill -9 at any moment: results are complete or absent, no process and no file stays, and what a killed run could not
# put back the next one does. KILLS (6; make soak: 50) moments on each machine, and on kvm once more with the kernel's
# KSM at work, from KILL_SEED (1). Prints "N passed, N failed, N skipped" last.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
kills=${KILLS:-6}
seed=${KILL_SEED:-1}
mark=OVERBOOK_KILLED_BY=$$
mkdir "$tmp/runs" "$tmp/tmp" "$tmp/swap"

# Guests that do a bit of everything that a run can leave behind, for about a second.
cat >"$tmp/kill.ini" <<END
[experiment]
schedule = lockstep
quantum = 500
events = yes
[host]
memory = 28 MiB
[swap]
size = 64 MiB
directory = $tmp/swap
[dedup]
algorithm = ksm
sleep = 1 ms
[vm a]
count = 3
memory = 24 MiB
workload = w
balloon-target = 2 MiB
[workload w]
processes = 2
phases = load, use
[phase load]
pattern = sequential
step = 4 KiB
size = 3 MiB
region = r
operations = 768
writes = 100%
[phase use]
pattern = zipf
size = 3 MiB
region = r
operations = 20000
writes = 30%
END
{
	cat "$tmp/kill.ini"
	printf '[vary]\nvm.balloon-target = 0, 1 MiB\n'
} >"$tmp/vary.ini"

become() { # become NAME FILE OPTION...: this shell is then a run into $tmp/runs/NAME
	name=$1
	shift
	exec env "$mark" TMPDIR="$tmp/tmp" "$overbook" run -q -o "$tmp/runs/$name" "$@"
}
run() { (become "$@"); }
ours() { grep -ls "$mark" /proc/[0-9]*/environ; }
none_left() { # within three seconds
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
		ours >/dev/null || return 0
		sleep 0.2
	done
	ours >&2
	return 1
}
unfinished() { find "$tmp/runs" -mindepth 1 -maxdepth 1 -name '.*'; }
empty() { [ -z "$(find "$1" -mindepth 1)" ]; }
complete() { # complete DIR: of one run or of several
	[ -s "$1/experiment.ini" ] && { [ -s "$1/summary.json" ] || [ -s "$1/summary.csv" ]; } &&
		tail -c 3 "$1/manifest.json" | grep -q '}' && grep -q '</html>' "$1/report.html"
}
absent_or_complete() { [ ! -e "$1" ] || complete "$1"; }
settings() {
	cat /proc/self/mounts /proc/swaps
	for f in run pages_to_scan sleep_millisecs use_zero_pages max_page_sharing merge_across_nodes smart_scan \
		advisor_mode; do
		echo "$f $(cat /sys/kernel/mm/ksm/$f 2>/dev/null)"
	done
	echo "max_map_count $(cat /proc/sys/vm/max_map_count)"
}
now() { sed 's/ .*//; s/\.//' /proc/uptime; } # hundredths of a second
moment() { # moment N LONGEST: seconds until the Nth kill, of a run that takes so many hundredths
	awk -v s="$seed" -v n="$1" -v longest="$2" 'BEGIN {
		srand(s * 1000 + n)
		printf "%.3f", rand() * longest / 100
	}'
}

# kill_one WHAT SECONDS NAME FILE OPTION...
kill_one() {
	what=$1
	after=$2
	shift 2
	become "$@" >"$tmp/said" 2>&1 &
	pid=$!
	sleep "$after"
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
	[ $? -ne 137 ] || killed=$((killed + 1))
	! grep -q 'removed .* what a killed process had not finished' "$tmp/said" || swept=$((swept + 1))
	check "$what: no process stays" none_left
	check "$what: results are complete or absent" absent_or_complete "$tmp/runs/$1"
}

# All ways to be killed in turn: alone, in several processes, when replacing older results, which are always there.
kill_all() { # kill_all NAME OPTION...
	machine=$1
	shift
	killed=0 swept=0 i=0
	settings >"$tmp/settings"
	begun=$(now)
	check "$machine: the experiment runs" run "$machine" "$tmp/kill.ini" "$@"
	took=$(($(now) - begun))
	check "$machine: and its results are complete" complete "$tmp/runs/$machine"
	while [ $i -lt "$kills" ]; do
		i=$((i + 1))
		after=$(moment $i $took)
		what="$machine, killed after $after s"
		case $((i % 4)) in
		0 | 2) kill_one "$what" "$after" "$machine-$i" "$tmp/kill.ini" "$@" ;;
		1) kill_one "$what, -j 2" "$after" "$machine-$i" "$tmp/vary.ini" -j 2 "$@" ;;
		3)
			kill_one "$what, --force" "$after" "$machine" "$tmp/kill.ini" --force "$@"
			check "$what: the older results or the newer are there" complete "$tmp/runs/$machine"
			;;
		esac
	done
	check "$machine: of $kills runs some were killed ($killed)" [ $killed -gt 0 ]
	check "$machine: later ones said what they removed ($swept)" [ $swept -gt 0 ]
	check "$machine: one more runs" run "$machine-last" "$tmp/kill.ini" "$@"
	check "$machine: and nothing unfinished is left" [ -z "$(unfinished)" ]
	check "$machine: no file in TMPDIR" empty "$tmp/tmp"
	check "$machine: no swap file" empty "$tmp/swap"
	settings >"$tmp/settings.after"
	check "$machine: mounts, swap, KSM and sysctls are as before" diff "$tmp/settings" "$tmp/settings.after"
}
kill_all sim --machine sim

# What if somebody else is still at work in the same folder?
become living "$tmp/vary.ini" --set 'phase use.operations=100000000' 2>"$tmp/living" &
pid=$!
while [ -z "$(unfinished)" ]; do sleep 0.05; done
check "another run beside a living one" run beside "$tmp/kill.ini"
check "leaves its directory alone" [ -n "$(unfinished)" ]
kill -INT $pid
wait $pid
check "so that it can end well" complete "$tmp/runs/living"

# Real guests' faults cost more: fewer of them.
less='phase use.operations=1500'
kill_on_kvm() { # kill_on_kvm NAME OPTION...
	name=$1
	shift
	set -- --machine kvm --set "$less" "$@"
	if run "$name-probe" "$tmp/kill.ini" "$@" --no-figures 2>"$tmp/probe"; then
		kill_all "$name" "$@"
	else
		skip "$(cat "$tmp/probe")"
	fi
}
kill_on_kvm kvm
# What if the kernel merges, whose settings are the whole host's?
kill_on_kvm kernel --set dedup.algorithm=kernel --set host.backing=anonymous --set swap.size=0 --set host.memory=96MiB
finish
