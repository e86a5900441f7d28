#!/bin/sh
# SPDX-License-Identifier: MIT
# What is written agrees with the program: links and file names in *.md exist, counters and keys named there are ones,
# and the manual page and the completion know every verb, list, option and policy. Prints "N passed, N failed, N
# skipped" last.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/files.sh
overbook=${B:-build}/overbook
man=docs/overbook.1
completion=docs/overbook.bash
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

rule() { # rule NAME OFFENCES
	if [ -z "$2" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		printf '%s:\n%s\n' "$1" "$2"
	fi
}
words() { # words FILE...: what stands in backticks, one a line, with the file's name
	grep -oHE '`[^`]+`' "$@" | sed 's/:`/ /; s/`$//'
}
lacking() { # lacking FILE WORD...: those that FILE does not have as words of their own
	file=$1
	shift
	for word; do
		sed 's/\\-/-/g' "$file" | grep -qE -e "(^|[^a-z0-9-])$word([^a-z0-9-]|\$)" || echo "$word"
	done
}
documents=$(files '*.md')

# --- links and files ---
for f in $documents; do
	grep -oE '\]\([^)]+\)' "$f" | sed 's/^](//; s/)$//; s/#.*//' | grep -vE '^(https?:.*)?$' |
		while read -r to; do
			[ -e "$(dirname "$f")/$to" ] || echo "$f: $to"
		done
done >"$tmp/links"
rule 'links lead somewhere' "$(cat "$tmp/links")"
# shellcheck disable=SC2086
words $documents | grep -E '^[^ ]+ (mm|shadow|ept|balloon|dedup|vmm|workloads|tests|docs|results)/[a-z0-9_./-]+$' |
	grep -vE ' (results/runs|results/bench)' | while read -r f path; do
	[ -e "$path" ] || echo "$f: $path"
done >"$tmp/paths"
rule 'files named exist' "$(cat "$tmp/paths")"

# --- counters and keys ---
"$overbook" list counters | awk '{ print $1 }' >"$tmp/known"
"$overbook" list costs | awk '{ print $1 }' >>"$tmp/known"
words README.md docs/glossary.md docs/twin.md docs/results.md docs/experiment-file.md | awk '
	NR == FNR { known[$1] = 1; next }
	$2 in known { next }
	$2 ~ /^(guest|faults|host|pages|tlb|walk|pwc|ntlb|cache|exits|shadow|ept|pml|pv|table|ns)_[a-z0-9_]+$/
	' "$tmp/known" - >"$tmp/counters"
rule 'counters named are counters' "$(cat "$tmp/counters")"
"$overbook" list keys | sed -n 's/^#* *\([a-z][a-z-]*\) =.*/\1/p' >"$tmp/keys"
"$overbook" list workloads | sed -n 's/^  \([a-z-]*\) *=.*/\1/p' >>"$tmp/keys"
# Units, and words that address: no keys.
printf '%s\n' ns us ms s min h ppm vm host >>"$tmp/keys"
words docs/experiment-file.md | sed 's/ = .*//' | awk '
	NR == FNR { known[$1] = 1; next }
	NF == 2 && $2 ~ /^[a-z]+(-[a-z]+)*$/ && !($2 in known)' "$tmp/keys" - >"$tmp/nokeys"
rule 'keys named are keys' "$(cat "$tmp/nokeys")"
rule 'every section is described' "$(for s in $("$overbook" list keys | sed -n 's/^\[\([a-z]*\).*/\1/p'); do
	grep -q "^| \`\[$s" docs/experiment-file.md || echo "$s"; done)"

# --- the manual page and the completion ---
verbs=$("$overbook" --help | sed -n 's/^  overbook \([a-z]*\) .*/\1/p')
lists=$("$overbook" list --help | sed -n 's/^overbook list \([a-z]*\) .*/\1/p')
rule 'the program has verbs and lists' "$([ -n "$verbs" ] && [ -n "$lists" ] || echo none)"
rule 'the manual page has every verb' "$(for v in $verbs; do grep -qE "^\.BI? \"?$v" $man || echo "$v"; done)"
# shellcheck disable=SC2086
{
	rule 'the completion has every verb' "$(lacking $completion $verbs)"
	rule 'the manual page has every list' "$(lacking $man $lists)"
	rule 'the completion has every list' "$(lacking $completion $lists)"
	rule 'the completion has every policy' \
		"$(lacking $completion $("$overbook" list policies | awk '/^[a-z]/ { print $1 }'))"
	rule 'the completion has every replacement policy' \
		"$(lacking $completion $("$overbook" list replacement | awk '{ print $1 }'))"
}
for v in $verbs; do
	[ "$v" = trace ] || [ "$v" = list ] || [ "$v" = doctor ] || "$overbook" "$v" --help
done 2>&1 | grep -oE -e '--[a-z-]+' | grep -vx -e --help | sort -u >"$tmp/options"
# shellcheck disable=SC2046
rule 'the manual page has every option' "$(lacking $man $(cat "$tmp/options"))"
# shellcheck disable=SC2046
rule 'the completion has every option' "$(lacking $completion $(cat "$tmp/options"))"

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
