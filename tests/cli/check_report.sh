#!/bin/sh
# What a reader gets: every figure drawn, with its data, and drawn again by hand; a page that needs nothing but itself;
# text that a user wrote taken for text and nothing else; results that are none refused with one message.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
# An SVG that came to its end, with something in it.
drawn() {
	[ -s "$1" ] && grep -q '</svg>' "$1" && grep -q '<path\|<polygon\|<rect' "$1" || return 1
	! command -v xmllint >/dev/null || xmllint --noout "$1"
}
# gnuplot says nothing when all is well.
by_hand() { # by_hand DIR NAME
	rm "$1/figures/$2.svg"
	(cd "$1" && gnuplot "figures/$2.gp") >"$tmp/said" 2>&1 && drawn "$1/figures/$2.svg" && [ ! -s "$tmp/said" ]
}
figures() { # figures DIR NAME...
	dir=$1
	shift
	for f; do
		check "$dir: $f is drawn" drawn "$tmp/$dir/figures/$f.svg"
		check "$dir: $f has data" test "$(wc -l <"$tmp/$dir/figures/$f.csv")" -ge 2
		check "$dir: $f can be drawn by hand" by_hand "$tmp/$dir" "$f"
	done
}
page() { # page DIR: what holds of every report
	html=$tmp/$1/report.html
	check "$1: the page is whole" \
		sh -c "head -1 '$html' | grep -qi '^<!doctype html>' && tail -1 '$html' | grep -q '</html>'"
	check "$1: and needs no other" not grep -Eq '(src|href)="(http|//|file)|<link|<script|@import|url\(' "$html"
	check "$1: every picture has words" \
		test "$(grep -o '<img ' "$html" | wc -l)" -eq "$(grep -o '<img alt="[^"]' "$html" | wc -l)"
	check "$1: tags are balanced" balanced "$html"
}
balanced() {
	for t in html head body section ul li p table tr th td div details dl dt dd figure pre h1 h2 small code \
		strong; do
		[ "$(grep -oE "<$t[ >]" "$1" | wc -l)" -eq "$(grep -o "</$t>" "$1" | wc -l)" ] && continue
		echo "<$t>" >&2
		return 1
	done
}

cat >"$tmp/body" <<'END'
[host]
memory = 512 MiB
timeslice = 100 us
[vm a]
memory = 64 MiB
workload = w
[vm b]
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
END
# What gnuplot, a shell, XML, HTML, printf and CSV would each take for something.
cat - "$tmp/body" >"$tmp/evil.ini" <<'END'
[experiment]
title = It's "50%" of <b>x</b> & \\n {y}_z^2 `touch pwned` $(touch pwned) @title #no, 'so'\nsecond <script>
question = Why, "exactly"? <img src="http://x.invalid/"> 100%s
sample-interval = 20 us
END
cat - "$tmp/body" >"$tmp/vary.ini" <<'END'
[experiment]
title = Varied
question = Which is it?
sample-interval = 200 us
repeats = 2
[vary]
vm.paging = native, shadow, ept, pv
END
cat - "$tmp/body" >"$tmp/asked.ini" <<'END'
[experiment]
title = Asked
figures = walk-references, time
metric = exits
[vary]
vm.levels = 4, 5
vm.host-levels = 4, 5
END

check 'a run with a hostile title' "$overbook" run "$tmp/evil.ini" -q -o "$tmp/evil"
figures evil metric time exits translation latency memory throughput
page evil
check 'the title is text' \
	grep -Eq '<h1>It&(apos|#39);s &quot;50%&quot; of &lt;b&gt;x' "$tmp/evil/report.html"
check 'and runs nothing' test -z "$(find "$tmp" . -maxdepth 2 -name pwned)"
check 'digests of a single run are told' grep -q '<code>[0-9a-f]\{16\}</code>' "$tmp/evil/report.html"

check 'a run that varies' "$overbook" run "$tmp/vary.ini" -q -o "$tmp/vary"
figures vary metric time exits translation latency memory throughput
page vary
check 'the metric has intervals' awk -F, 'NR > 1 && $4 > 0 { n++ } END { exit !n }' "$tmp/vary/figures/metric.csv"
check 'each combination has its bar' test "$(wc -l <"$tmp/vary/figures/time.csv")" -eq 9
check 'nothing that is zero is in a legend' not grep -q 'PML full' "$tmp/vary/figures/exits.csv"
check 'the answer ranks' grep -q 'least with <strong>' "$tmp/vary/report.html"
check 'the page says how memory compares' grep -q 'their digests are equal\|digests differ' "$tmp/vary/report.html"
check 'figures over time have a column for each' \
	test "$(head -1 "$tmp/vary/figures/memory.csv" | tr ',' '\n' | wc -l)" -eq 9

# Estimates of working sets, two methods in the first combination and one in the second.
cat - "$tmp/body" >"$tmp/wss.ini" <<'END'
[experiment]
sample-interval = 100 us
[estimate]
methods = esx
window = 200 us
truth = yes
[vary]
estimate.methods = esx, refault; mrc
END
check 'a run that estimates' "$overbook" run "$tmp/wss.ini" -q -o "$tmp/wss"
figures wss working-set working-set-error miss-ratio
check 'the truth and two methods of two guests' \
	test "$(head -1 "$tmp/wss/figures/working-set.csv" | tr ',' '\n' | wc -l)" -eq 7
check 'a bar for each method of each guest' test "$(wc -l <"$tmp/wss/figures/working-set-error.csv")" -eq 5

# Expectations: a table right after the answer, a file, a line each.
cat - "$tmp/body" >"$tmp/expect.ini" <<'END'
[expect met]
claim = What <b>others</b> found
value = exits / exits
min = 100%
max = 100%
source = A. Author, 1999
[expect missed]
claim = Half as many
value = operations
vm = a
against-vm = b
max = 0.5
source = B. Author, 1999
[expect other]
claim = On another machine
value = exits
min = 0
source = C. Author, 1999
not-comparable = other machine
END
check 'a run that expects' sh -c "'$overbook' run '$tmp/expect.ini' --no-figures -o '$tmp/expect' 2>'$tmp/verdicts'"
page expect
check 'says each verdict' test "$(grep -c 'Author, 1999' "$tmp/verdicts")" -eq 3
check 'met' grep -q '^overbook: met: reproduced: 100.0%, expected 100% (A. Author, 1999)$' "$tmp/verdicts"
check 'missed' grep -q '^overbook: missed: not reproduced: 1, expected at most 0.5' "$tmp/verdicts"
check 'other' grep -q '^overbook: other: not comparable: .*: other machine$' "$tmp/verdicts"
check 'they are in a file' test "$(wc -l <"$tmp/expect/expected.csv")" -eq 4
check 'and in the page' grep -q '1 reproduced, 1 not reproduced, 1 not comparable' "$tmp/expect/report.html"
check 'before the numbers' sh -c \
	"sed -n '/Against the literature/,\$p' '$tmp/expect/report.html' | grep -q '<h2>Numbers'"
check 'as text' grep -q 'What &lt;b&gt;others' "$tmp/expect/report.html"
check 'a canonical file expects the same' sh -c "'$overbook' run -q '$tmp/expect/experiment.ini' --no-figures \
	-o '$tmp/again' && cmp '$tmp/expect/expected.csv' '$tmp/again/expected.csv'"
check 'nothing expected, no file' not test -e "$tmp/vary/expected.csv"

cat - "$tmp/body" >"$tmp/merge.ini" <<'END'
[experiment]
title = Merged
sample-interval = 200 us
figures = merging, sharing, savings, savings-cost
[dedup]
algorithm = ksm
sleep = 100 us
[vary]
dedup.pages-to-scan = 1, 200
END
check 'a run that merges' "$overbook" run "$tmp/merge.ini" -q -o "$tmp/merge"
figures merge merging sharing savings savings-cost
page merge
check 'what does not merge is told why' grep -q 'Why is not more merged' "$tmp/merge/report.html"
check 'in words' grep -q '200: of [0-9].* pages [0-9.]*% are merged; most of the others are' "$tmp/merge/report.html"
check 'reasons add up to the pages with frames' awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
	{ n++; s = $at["pages_merged"] + $at["ksm_zero_pages"] + $at["pages_unshared"] + $at["pages_volatile"]
	s += $at["pages_huge"] + $at["pages_limited"] + $at["pages_other_node"]
	s += $at["pages_refused"] + $at["pages_unscanned"]
	bad += s != $at["pages_backed"] } END { exit bad || !n }' "$tmp/merge/pages-to-scan=200/samples.csv"
check 'nothing is said of merging where none was' not grep -q 'Why is not more' "$tmp/vary/report.html"

check 'a run that asks for figures' "$overbook" run "$tmp/asked.ini" -q -o "$tmp/asked"
figures asked walk-references time
page asked
check 'gets no others' not test -e "$tmp/asked/figures/exits.svg"

# Latencies, failures and the rest, as files alone.
mkdir "$tmp/made"
cat >"$tmp/made/experiment.ini" <<'END'
[experiment]
title = Made
question =
metric = ns_total/operations
END
echo '{}' >"$tmp/made/manifest.json"
cat >"$tmp/made/summary.json" <<'END'
{"vms": {"a": {"ns_total": 100, "ns_work": 60, "ns_walk": 40, "operations": 10}, "b<i>": {}},
 "latency": {"a": {"count": 5, "p50_ns": 100, "p90_ns": 400, "p99_ns": 9000, "p99.9_ns": 70000}},
 "failures": {"b<i>": "out of <memory>"}, "interrupted": true}
END
check 'a report on files alone' "$overbook" report "$tmp/made"
figures made latency time metric
page made
check 'failures are told' grep -q '1 of 2 guests failed' "$tmp/made/report.html"
check 'an impossible value is told as none' grep -q NaN "$tmp/made/figures/metric.csv"
check 'escaped' grep -q 'out of &lt;memory&gt;' "$tmp/made/report.html"
check 'and that it was interrupted' grep -q 'was interrupted' "$tmp/made/report.html"
rm -r "$tmp/made/figures"
cp -r "$tmp/made" "$tmp/bad"
for text in '' '{' '[]' '{"vms": 3}' '{"vms": {}}' '{"vms": {"a": []}}'; do
	printf '%s' "$text" >"$tmp/bad/summary.json"
	rm -f "$tmp/bad/report.html"
	"$overbook" report "$tmp/bad" >"$tmp/said" 2>&1
	check "status 2 for a summary of '$text'" test $? -eq 2
	check 'with one message' test "$(grep -c . "$tmp/said")" -eq 1
	check 'and no page' not test -e "$tmp/bad/report.html"
done
finish
