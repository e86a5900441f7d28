#!/bin/sh
# SPDX-License-Identifier: MIT
# Malformed experiment files and command lines through the program itself: each ends with status 2, nothing on stdout,
# one line on stderr that names what is wrong, and leaves nothing behind. (Traces: check_trace_bad.sh. Damage at random:
# tests/fuzz/.) Prints "N passed, N failed, N skipped" last.
set -u
cd "$(dirname "$0")/../.." || exit 1
overbook=$PWD/${B:-build}/overbook
tree=$PWD
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/out"
passed=0 failed=0

bad() { # bad WORDS ARGUMENTS...: overbook ARGUMENTS is refused, in words that hold WORDS
	words=$1
	shift
	(cd "$tmp/out" && "$overbook" "$@" >"$tmp/stdout" 2>"$tmp/stderr" </dev/null)
	status=$?
	why=
	[ "$status" -eq 2 ] || why="status $status"
	[ ! -s "$tmp/stdout" ] || why="$why, stdout not empty"
	[ "$(wc -l <"$tmp/stderr")" -eq 1 ] || why="$why, not one line of message"
	grep -q '^overbook: ' "$tmp/stderr" || why="$why, no name before the message"
	grep -qF -e "$words" "$tmp/stderr" || why="$why, message lacks \"$words\""
	[ -z "$(ls -A "$tmp/out")" ] || why="$why, leaves $(ls -A "$tmp/out")"
	if [ -z "$why" ]; then
		passed=$((passed + 1))
		return
	fi
	failed=$((failed + 1))
	echo "FAIL: $*: $why"
	head -3 "$tmp/stderr"
	rm -rf "$tmp/out"
	mkdir "$tmp/out"
}
file() { # file WORDS TEXT: an experiment of these lines is refused
	printf '%b' "$2" >"$tmp/x.ini"
	bad "$1" run -q ../x.ini
}
rest='[vm a]\nmemory = 64 MiB\nworkload = w\n[workload w]\nphases = p\n[phase p]\npattern = uniform\noperations = 10\n'
work='[workload w]\nphases = p\n[phase p]\npattern = uniform\noperations = 10\n'
vm() { file "$1" "[vm a]\nmemory = 64 MiB\nworkload = w\n$2\n$work"; }
phase() { file "$1" "$rest$2\n"; }

# --- generated: every key of every section, with a value that it cannot have, and misspelt ---
"$overbook" list keys >"$tmp/keys" || exit 1
printf '%b' "$rest[expect x]\nclaim = c\nvalue = exits\nmax = 1\nsource = s\n" >"$tmp/good.ini"
keys=0
while IFS= read -r line; do
	case $line in # a key without default is written as a comment
	'# '*' = ...') line=${line#\# } ;;
	esac
	case $line in
	'['*)
		section=${line#\[}
		section=${section%\]}
		;;
	'#   '*) allowed=$line ;;
	'#'* | '') ;;
	*' ='*)
		key=${line%% =*}
		case $section in
		experiment | host) at=$section ;;
		'vm NAME') at='vm a' ;;
		'workload NAME') at='workload w' ;;
		'phase NAME') at='phase p' ;;
		'expect NAME') at='expect x' ;;
		*) continue ;;
		esac
		keys=$((keys + 1))
		bad "no such key" run -q ../good.ini --set "$at.${key}x=1"
		case $allowed in
		*'any text'*) continue ;;
		*) bad "$key" run -q ../good.ini --set "$at.$key=~@~" ;;
		esac
		case $allowed in
		*'number'* | *'a time'* | *'a size'* | *'a share'*) bad "$key" run -q ../good.ini --set "$at.$key=-1" ;;
		esac
		;;
	esac
done <"$tmp/keys"
if [ "$keys" -ge 50 ]; then
	passed=$((passed + 1))
else
	failed=$((failed + 1))
	echo "FAIL: overbook list keys names only $keys keys"
fi

# --- handwritten: the file ---
file 'at least one VM' ''
file 'at least one VM' '# nothing\n'
file 'at least one VM' '[experiment]\nseed = 1\n'
file 'x.ini' 'seed = 1\n'
file 'x.ini' 'hello\n'
file 'x.ini' '[vm a\nmemory = 64 MiB\n'
file 'x.ini' '[vm a]\nmemory\n'
file 'x.ini' '[vm a]\n= 64 MiB\n'
file 'x.ini' '\0177ELF\0002\0001\n'
file 'x.ini' '[vm a]\nworkload = \0377\0376\n'
file 'no such section' "[experimnt]\n$rest"
file 'did you mean [experiment]?' "[experimnt]\n$rest"
file 'no such section' "[VM b]\nmemory = 64 MiB\n$rest"
file 'x.ini' "[vm]\nmemory = 64 MiB\n"
file 'x.ini' "[host a]\n$rest"
file 'x.ini' "[vm a b/c]\n$rest"
file 'x.ini' "$rest[vm a]\nmemory = 64 MiB\n"
file 'x.ini' "[experiment]\nseed = 1\nseed = 2\n$rest"
file 'x.ini' "[host]\n[host]\n$rest"
file 'there is no such [workload]' '[vm a]\nworkload = w\n'
file 'there is no [phase p]' '[vm a]\nworkload = w\n[workload w]\nphases = p\n'
file 'workload' '[vm a]\nmemory = 64 MiB\n'
file 'phases' '[vm a]\nworkload = w\n[workload w]\nprocesses = 1\n'
file 'pattern' '[vm a]\nworkload = w\n[workload w]\nphases = p\n[phase p]\noperations = 1\n'
bad 'cannot be read' run -q nosuch.ini
bad 'cannot be read' run -q .
bad 'at least one VM' run -q /dev/null
head -c 1100000 /dev/zero >"$tmp/x.ini"
bad 'too large' run -q ../x.ini
bad 'x.ini' run -q ../x.ini --seed 3
head -c 4000 /dev/zero >"$tmp/x.ini"
bad 'x.ini' run -q ../x.ini
cp "$tree"/workloads/traces/*.obt "$tmp/x.ini"
bad 'x.ini' run -q ../x.ini

# --- handwritten: values ---
vm 'no such key; did you mean "paging"?' 'pagin = ept'
vm 'native, shadow, ept, pv' 'paging = nested'
vm 'native, shadow, ept, pv' 'paging = EPT'
vm 'native, shadow, ept, pv' 'paging = ept, shadow'
vm 'levels' 'levels = 3'
vm 'max-leaf' 'max-leaf = 4M'
vm 'yes or no' 'pcid = maybe'
vm 'count' 'count = 0'
vm 'count' 'count = 5000'
vm 'count' 'count = 1.5'
vm 'arena' 'arena = 3 MiB'
vm 'arena' 'arena = 64 MiB'
vm 'arena' 'arena = 2 GiB'
vm 'shadow-limit' 'shadow-limit = 3'
vm 'node' 'node = 5'
vm 'dirty-log' 'dirty-log = pml\nept-ad = no'
vm 'dirty-log' 'paging = native\ndirty-log = wrprotect'
file 'a multiple of 2 MiB' '[vm a]\nmemory = 9 MiB\nworkload = w\n'"$work"
file 'MiB, not MB' '[vm a]\nmemory = 64 MB\nworkload = w\n'"$work"
file 'a number alone is bytes' '[vm a]\nmemory = 64\nworkload = w\n'"$work"
file 'memory' '[vm a]\nmemory = 99999999999999999999 GiB\nworkload = w\n'"$work"
phase 'size' 'size = 5000'
phase 'page-size' 'page-size = 2M\nsize = 3 MiB'
phase 'writes' 'writes = 101%%'
phase 'writes' 'writes = 0.3'
phase 'contents' 'contents = poetry'
phase 'contents' 'contents = text:'
phase 'no such key' 'theta = 0.9'
phase 'operations' 'operations = 5'
phase 'think-time' 'think-time = 5'
phase 'think-time' 'think-time = 5 days'
file 'forks' '[vm a]\nworkload = w\n[workload w]\nphases = p\n[phase p]\npattern = fork\noperations = 5\n'
file 'forks' '[vm a]\nworkload = w\n[workload w]\nphases = p\n[phase p]\npattern = fork\nforks = q\noperations = 5\n'
file 'trace' '[vm a]\nworkload = w\n[workload w]\nphases = p\n[phase p]\npattern = trace\n'
file 'trace' '[vm a]\nworkload = w\n[workload w]\nphases = p\n[phase p]\npattern = trace\ntrace = nosuch.obt\n'
file 'is not a trace' '[vm a]\nworkload = w\n[workload w]\nphases = p\n[phase p]\npattern = trace\ntrace = x.ini\n'
file 'one of sequential, strided, uniform, zipf,' \
	'[vm a]\nworkload = w\n[workload w]\nphases = p\n[phase p]\npattern = zipff\noperations = 5\n'
file 'theta' \
	'[vm a]\nworkload = w\n[workload w]\nphases = p\n[phase p]\npattern = zipf\ntheta = 0.12345\noperations = 5\n'
file 'p' '[vm a]\nworkload = w\n[workload w]\nphases = p\n[phase p]\npattern = uniform\n'
file 'metric' "[experiment]\nmetric = speed\n$rest"
file 'metric' "[experiment]\nmetric = ns_total/\n$rest"
file 'metric' "[experiment]\nmetric = ns_total/operations/exits\n$rest"
file 'there is no figure "tme"; did you mean "time"?' "[experiment]\nfigures = tme\n$rest"
file 'shorter than the duration' "[experiment]\nduration = 1 ms\nwarm-up = 1 ms\n$rest"
file 'duration' "[experiment]\nduration = 10\n$rest"
file 'repeats' "[experiment]\nrepeats = 0\n$rest"
file 'profile' "[host]\nprofile = i486\n$rest"
file 'profile' "[host]\nprofile = ./nosuch.ini\n$rest"
file 'profile' "[host]\nprofile = x.ini\n$rest"
file 'list costs' "[costs]\nexit_cycle = 5\n$rest"
file 'exit_cycles' "[costs]\nexit_cycles = cheap\n$rest"
file 'l1_4k' "[costs]\nl1_4k = 63/4\n$rest"

# --- [estimate] ---
file 'there is no method "esxi"; did you mean "esx"?; allowed are esx, idle, refault, mrc' \
	"[estimate]\nmethods = idle, esxi\n$rest"
file 'idle is there twice' "[estimate]\nmethods = idle, esx, idle\n$rest"
file 'it must be one of methods' "[estimate]\nmethods = idle, esx\nactive = mrc\n$rest"
file 'window' "[estimate]\nmethods = idle\nwindow = 15 us\n$rest"
file 'mrc-sampling' "[estimate]\nmethods = mrc\nmrc-sampling = 0\n$rest"
file 'sample-pages' "[estimate]\nmethods = esx\nsample-pages = 0\n$rest"
file 'only machine = sim sees every access' "[experiment]\nmachine = kvm\n[estimate]\nmethods = esx\ntruth = yes\n$rest"
file 'nobody knows the future' \
	"[experiment]\nmachine = kvm\nschedule = lockstep\n[swap]\nsize = 64 MiB\npolicy = opt\n$rest"
file 'only machine = sim sees that' "[experiment]\nmachine = kvm\n[swap]\nsize = 64 MiB\npreventer = yes\n$rest"
file 'cannot be seen; allowed are shadow, ept and pv' \
	"[estimate]\ntruth = yes\n[vm a]\nmemory = 64 MiB\npaging = native\nworkload = w\n$work"

# --- [vary] ---
file 'x.ini' "$rest[vary]\npaging = ept, shadow\n"
file 'x.ini' "$rest[vary]\nvm.paging =\n"
file 'nested' "$rest[vary]\nvm.paging = ept, nested\n"
file 'no such key' "$rest[vary]\nvm.pagin = ept, shadow\n"
file 'there is no [vm b]' "$rest[vary]\nvm b.paging = ept, shadow\n"
file 'no such section' "$rest[vary]\nguest.paging = ept, shadow\n"
file 'x.ini' "$rest[vary]\nvary.paging = ept, shadow\n"
file 'x.ini' "$rest[vary]\nvm.paging = ept, ept\n"

# --- [expect NAME] ---
expect() { # expect WORDS LINES: with all that it must have but what LINES say otherwise
	printf '%b' "$rest[vary]\nvm.paging = ept, shadow\n" >"$tmp/y.ini"
	words=$1
	shift
	{
		cat "$tmp/y.ini"
		echo '[expect x]'
		printf '%s\n' "$@" 'claim = c' 'value = exits' 'min = 1' 'source = s' | awk -F ' =' '!seen[$1]++'
	} >"$tmp/x.ini"
	bad "$words" run -q ../x.ini
}
expect '[expect x] value = exitss: there is no counter "exitss"; did you mean "exits"?' 'value = exitss'
expect 'a counter is missing' 'value = exits /'
expect 'a counter is missing' 'value = + exits'
expect 'a counter is missing' 'value ='
expect 'SUM or SUM / SUM is allowed' 'value = exits / walks / quanta'
expect 'SUM or SUM / SUM is allowed' 'value = exits walks'
expect '[expect x] vm = b: there is no such VM; allowed are host, a' 'vm = b'
expect '[expect x] against-vm = c-1: there is no such VM' 'against-vm = c-1'
expect 'SECTION.KEY=VALUE is needed' 'where = ept'
expect '[vary] lists no vm.paging=pv; allowed are ept, shadow' 'where = vm.paging=pv'
expect 'it must name the key as [vary] does: vm.paging' 'where = vm a.paging=ept'
expect 'vm.paging' 'against = vm.paging=native'
expect 'no such key' 'where = vm.pagin=ept'
expect 'there is no [vm b]' 'where = vm b.memory=64 MiB'
expect 'allowed is' 'where = vm.levels=6'
expect 'min, max or both must say' 'min ='
expect 'it is less than min = 1' 'max = 50%'
expect 'a decimal value' 'max = many'
expect 'a decimal value' 'max = 1.'
expect 'a decimal value' 'max = 1e5'
expect 'where the figure comes from must be said' 'source ='
file 'the key "source" is missing' "$rest[expect x]\nclaim = c\nvalue = exits\nmax = 1\n"
file 'a name is needed' "$rest[expect]\nclaim = c\n"

# --- command lines ---
bad 'there are: run' nosuchverb
bad 'did you mean "run"?' rnu ../good.ini
bad 'overbook run ../good.ini' ../good.ini
bad 'there are: run' --run ../good.ini
bad 'has no page-modification log' run -q ../good.ini --set vm.dirty-log=pml --set vm.paging=ept --set host.profile=zen3
bad 'one experiment file' run
bad 'one experiment file' run ../good.ini ../good.ini
bad '--set vm.paging=ept' run ../good.ini vm.paging=ept
bad '--jobs' run ../good.ini --jobs 0
bad '--jobs' run ../good.ini --jobs many
bad '--jobs' run ../good.ini --jobs 99999999999999999999
bad 'Unknown option' run ../good.ini --paging ept
bad 'Unknown option' run ../good.ini -x
bad 'Missing argument' run ../good.ini -o
bad 'seed' run ../good.ini --seed -1
bad 'seed' run ../good.ini --seed x
bad 'machine' run ../good.ini --machine vax
bad 'SECTION.KEY=VALUE' run ../good.ini --set vm.paging
bad 'SECTION.KEY=VALUE' run ../good.ini --set paging=ept
bad 'SECTION.KEY=VALUE' run ../good.ini --set =
bad 'SECTION.KEY=VALUE' run ../good.ini --set ''
bad 'several values to try go into [vary]' run ../good.ini --set vm.paging=ept,shadow
bad 'there is no [vm b]' run ../good.ini --set 'vm b.paging=ept'
bad 'there is no [phase]' run ../good.ini --set phase.size=1MiB
bad 'no such section' run ../good.ini --set guest.paging=ept
bad '[vary] cannot be overridden' run ../good.ini --set vary.x=1
bad 'exists' run ../good.ini -q -o ../good.ini
bad 'cannot write' run ../good.ini -q -o /proc/nowhere
bad 'run director' report
bad 'no run directory' report /nonexistent
bad 'no run directory' report ../good.ini
bad 'two or more' compare
bad 'two or more' compare /nonexistent
bad 'no run directory' compare /nonexistent /nowhere
bad 'Unknown option' compare --nosuch a b
bad 'one word is needed' list
bad 'one word is needed' list counters modes
bad 'did you mean "counters"?' list counter
bad 'no arguments' doctor now

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
