#!/bin/sh
# What `make demo` shows: four paging modes on five guests, one of them a recorded program; that program's miss-ratio
# curve; and guests worth up to three times the host's memory under every policy.
set -eu
overbook=$1
out=results/runs/demo
jobs=$(nproc 2>/dev/null || echo 1)

echo "1. workloads/paging-modes.ini: the same guests in native, shadow, ept and pv paging"
"$overbook" run workloads/paging-modes.ini --jobs "$jobs" --force -o $out
trace=$(ls workloads/traces/*.obt | head -1)
echo "2. $trace: how many pages of memory does a real program need?"
"$overbook" trace mrc "$trace" --policy lru,clock,fifo,opt \
	--memory 64KiB,128KiB,256KiB,512KiB,1MiB,2MiB,3MiB,4MiB,6MiB,8MiB,12MiB,16MiB -o $out/mrc >/dev/null
echo "3. workloads/overcommit.ini: guests worth 1, 2 and 3 times the host's memory, under every policy"
"$overbook" run workloads/overcommit.ini --jobs "$jobs" --force -o $out-overcommit
echo "   why a guest's balloon was where it was, half a second into one of them:"
"$overbook" explain "$out-overcommit/memory=128MiB,name=esx" --vm early-0 --at 500ms

echo
echo "Pictures:"
ls $out/figures/*.svg $out/mrc/*.svg $out-overcommit/figures/*.svg
echo "Reports: $out/report.html, $out-overcommit/report.html (open them in a browser)"
