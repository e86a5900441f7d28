#!/bin/sh
# SPDX-License-Identifier: MIT
# What if it is installed? `make install` into an empty folder: the program runs from there with nothing of the source
# tree in reach, finds its figures, ships its experiments with their traces, and brings a manual page and a completion
# that work.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
prefix=$tmp/root/opt/lab
share=$prefix/share
overbook=$prefix/bin/overbook

silent() { # silent COMMAND...: it says nothing at all on stderr
	"$@" 2>"$tmp/said" && [ ! -s "$tmp/said" ] || { cat "$tmp/said" >&2; return 1; }
}
same_files() { # same_files FOLDER INSTALLED
	diff "$1" "$2"
}

check 'make install' make --no-print-directory install B="${B:-build}" DESTDIR="$tmp/root" PREFIX=/opt/lab
check 'nothing outside the prefix' test "$(cd "$tmp/root" && find . -type f ! -path './opt/lab/*' | wc -l)" -eq 0
check 'the program is executable' test -x "$overbook"
check 'every figure template' \
	sh -c "for f in results/figures/*; do cmp \$f '$share/overbook/figures/'\${f##*/} || exit; done"
check 'every experiment' \
	sh -c "for f in workloads/*.ini; do cmp \$f '$share/overbook/workloads/'\${f##*/} || exit; done"
check 'every trace' same_files workloads/traces "$share/overbook/workloads/traces"

mkdir "$tmp/elsewhere"
work=$tmp/elsewhere
check 'it runs elsewhere' sh -c "cd '$work' && '$overbook' run '$share/overbook/workloads/hello.ini' -q -o hello"
if command -v gnuplot >/dev/null; then
	check 'and draws its figures' test -s "$work/hello/figures/time.svg"
	check 'which can be drawn again by hand' sh -c "cd '$work/hello' && gnuplot figures/time.gp"
else
	skip 'gnuplot is missing: figures'
fi
check 'as the tree does' sh -c "'${B:-build}/overbook' run workloads/hello.ini -q --no-figures -o '$work/tree' &&
	cmp '$work/tree/summary.json' '$work/hello/summary.json'"
check 'the trace of an installed experiment is found' sh -c "cd '$work' &&
	'$overbook' run '$share/overbook/workloads/paging-modes.ini' -q --no-figures -o trace \
		--set vm.paging=ept --set 'experiment.duration=2 ms' --set experiment.warm-up=0"
trace=$(find "$share/overbook/workloads/traces" -name '*.obt' | head -1)
check 'and can be read' sh -c "cd '$work' && '$overbook' trace mrc '$trace' --memory 1MiB | grep -q ^lru,1048576,"

if command -v "${CC:-cc}" >/dev/null; then
	check 'a policy builds with the installed header' "${CC:-cc}" -O2 -fPIC -shared -Wall -Werror \
		-o "$work/halves.so" docs/policy-example/halves.c -I"$prefix/include"
	check 'and decides' sh -c "cd '$work' && '$overbook' run '$share/overbook/workloads/hello.ini' -q --no-figures \
		-o mine --policy ./halves.so && test -s mine/decisions.csv"
else
	skip 'no C compiler: a policy of one'\''s own'
fi

if command -v man >/dev/null; then
	check 'the manual page renders without a warning' \
		silent env LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings=all -l "$share/man/man1/overbook.1"
	cp "$tmp/out" "$tmp/manual"
	check 'and has its sections' grep -q 'EXIT STATUS' "$tmp/manual"
elif command -v groff >/dev/null; then
	check 'the manual page renders without a warning' silent groff -ww -man -Tascii "$share/man/man1/overbook.1"
else
	skip 'neither man nor groff: the manual page'
fi

if command -v bash >/dev/null; then
	complete=$share/bash-completion/completions/overbook
	offers() { # offers WORD WORDS...: completing after these words offers WORD
		# shellcheck disable=SC2016
		bash -c 'set -eu; . "$1"; shift; want=$1; shift; COMP_WORDS=("$@" ""); COMP_CWORD=$#; COMPREPLY=()
			_overbook; printf "%s\n" "${COMPREPLY[@]}" | grep -qx -- "$want"' bash "$complete" "$@"
	}
	check 'the completion loads in bash' silent bash -c ". '$complete' && complete -p overbook"
	check 'it offers verbs' offers compare overbook
	check 'and lists' offers keys overbook list
	check 'and what trace does' offers mrc overbook trace
	check 'and machines' offers kvm overbook run --machine
else
	skip 'no bash: the completion'
fi

check 'make uninstall' make --no-print-directory uninstall B="${B:-build}" DESTDIR="$tmp/root" PREFIX=/opt/lab
check 'leaves no file' test "$(find "$tmp/root" -type f | wc -l)" -eq 0
finish
