#!/bin/sh
# workloads/walk-references.ini, its cold half: for every pair of levels and page sizes the whole machine (guest kernel,
# memory manager, tables, MMU) reads just what the closed form says: 24, 35, 29, 19, 15, 8 and all the others.
set -u
cd "$(dirname "$0")/../.." || exit 1
overbook=$PWD/${B:-build}/overbook
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

if ! "$overbook" run workloads/walk-references.ini -q --no-figures --jobs 2 --set host.profile=bare -o "$tmp/run"; then
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi
# Levels read of a guest or host of so many, whose pages are 4K, 2M or 1G.
awk -F, '
	function level(page) { return page == "4K" ? 1 : page == "2M" ? 2 : 3 }
	NR == 1 { for (i = 1; i <= NF; i++) col[$i] = i; next }
	$col["vm"] == "host" { next }
	{
		split($col["vm"], name, "-")
		page = level(name[2])
		hpage = level($col["host.page-size"])
		n = $col["vm.levels"] - page + 1
		m = $col["vm.host-levels"] - hpage + 1
		if (name[1] == "ept")
			want = (n + 1) * (m + 1) - 1
		else if (name[1] == "shadow" && hpage < page)
			want = $col["vm.levels"] - hpage + 1
		else
			want = n
		if ($col["walks"] >= 1000 && $col["walk_refs"] == want * $col["walks"]) {
			passed++
		} else {
			failed++
			printf "%s with %s levels on a host with %s levels, %s pages: ",
				$col["vm"], $col["vm.levels"], $col["vm.host-levels"], $col["host.page-size"]
			printf "%s references in %s walks, not %d each\n", $col["walk_refs"], $col["walks"], want
		}
	}
	END {
		printf "%d passed, %d failed, 0 skipped\n", passed, failed
		exit failed || passed != 108
	}' "$tmp/run/summary.csv"
