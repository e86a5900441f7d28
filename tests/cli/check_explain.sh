#!/bin/sh
# SPDX-License-Identifier: MIT
# Policies as a user meets them: --policy, decisions.csv, overbook explain, and a policy of one's own, good and bad.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh

cat >"$tmp/small.ini" <<'END'
[experiment]
title = Small
question = Who gives way?
schedule = lockstep
duration = 20 ms
[host]
memory = 64 MiB
[swap]
size = 64 MiB
[policy]
name = proportional
interval = 1 ms
[vm a]
memory = 32 MiB
workload = w
shares = 2000
[vm b]
memory = 32 MiB
workload = w
[workload w]
phases = p, q
[phase p]
pattern = sequential
step = 4 KiB
size = 22 MiB
operations = 5632
writes = 100%
region = m
[phase q]
pattern = zipf
size = 22 MiB
operations = 0
region = m
END
run() { "$overbook" run "$tmp/small.ini" -q -f --no-figures -o "$@"; }
says() { # says WORDS ARGS...: explain does, on stdout
	words=$1
	shift
	"$overbook" explain "$@" >"$tmp/text" && grep -q -e "$words" "$tmp/text"
}
refused() { # refused WORDS COMMAND...: status 2, nothing on stdout, one line on stderr with these words
	words=$1
	shift
	"$@" >"$tmp/text" 2>"$tmp/why"
	code=$?
	cat "$tmp/why" >&2
	[ $code -eq 2 ] && [ ! -s "$tmp/text" ] && [ "$(wc -l <"$tmp/why")" -eq 1 ] && grep -q -e "$words" "$tmp/why"
}
column() { cut -d, -f"$2" "$1" | tail -n +2; } # column FILE NUMBER

# --- what was decided, and why ---
check 'a run with a policy' run "$tmp/run" --set policy.idle-tax=50%
check 'leaves its decisions' test -s "$tmp/run/decisions.csv"
check 'with a header' grep -qx 'time_ns,vm,rule,inputs,mechanism,before,asked,actual' "$tmp/run/decisions.csv"
check 'every row has eight fields' not grep -qvE '^([^,]*,){7}[^,]*$' "$tmp/run/decisions.csv"
check 'about both guests' sh -c "grep -q ',a,' '$tmp/run/decisions.csv' && grep -q ',b,' '$tmp/run/decisions.csv'"
check 'the same again' run "$tmp/again" --set policy.idle-tax=50%
check 'gives the same bytes' cmp "$tmp/run/decisions.csv" "$tmp/again/decisions.csv"
check 'its experiment.ini has the constant' grep -qx 'idle-tax = 50%' "$tmp/run/experiment.ini"
check 'and can be run' "$overbook" run "$tmp/run/experiment.ini" -q --no-figures -o "$tmp/third"
check 'to the same decisions' cmp "$tmp/run/decisions.csv" "$tmp/third/decisions.csv"
check 'explained' says 'guests want more than there is' "$tmp/run"
check 'with sizes' says 'MiB' "$tmp/run"
check 'and what came of it' \
	says 'Its balloon is to hold .* MiB; it held .* MiB, and at the next decision .* MiB' "$tmp/run"
check 'no placeholder is left' not grep -q '[{}?]' "$tmp/text"
check 'of one guest' says ' a: ' "$tmp/run" --vm a
check 'and no other' not grep -q ' b: ' "$tmp/text"
check 'at one time' says '^0.003' "$tmp/run" --at 3500us
check 'and no other' not grep -qv -e '^0.003' -e '^    ' "$tmp/text"
check 'no such guest' refused 'there are: ' "$overbook" explain "$tmp/run" --vm c
check 'no such time' refused 'allowed is a time' "$overbook" explain "$tmp/run" --at soon
check 'no directory' refused 'is no run directory' "$overbook" explain "$tmp"
check 'no arguments' refused 'the directory of one run' "$overbook" explain

# --- by name ---
for name in static swap-only esx esx-minfree mom psi refault; do
	check "--policy $name" run "$tmp/$name" --policy $name
	check 'decides' test "$(wc -l <"$tmp/$name/decisions.csv")" -gt 10
	check 'and is explained' says '.' "$tmp/$name"
	check 'without a placeholder' not grep -q '[{}?]' "$tmp/text"
done
check 'none' run "$tmp/none" --policy none
check 'leaves no decisions' test ! -e "$tmp/none/decisions.csv"
check 'and explain says why' refused 'has no \[policy\]; run it again with --policy' "$overbook" explain "$tmp/none"
check 'guests compute the same with and without' \
	"$overbook" compare "$tmp/none" "$tmp/static"
check 'no such policy' refused 'policy\] name = nine' run "$tmp/x" --policy nine
check 'no such constant' refused 'Allowed are name, interval, module, idle-tax' run "$tmp/x" --set policy.tax=1%
check 'a constant out of its range' refused 'idle-tax = 100%' run "$tmp/x" --set policy.idle-tax=100%
cat "$tmp/small.ini" >"$tmp/vary.ini"
cat >>"$tmp/vary.ini" <<'END'
[vary]
policy.name = none, proportional, mom
END
sed -i 's/^interval = 1 ms/interval = 5 ms\nidle-tax = 25%\npressure = 30%/' "$tmp/vary.ini"
check 'several policies, with constants of some' \
	"$overbook" run "$tmp/vary.ini" -q --no-figures -o "$tmp/several"
check 'each gets its own' grep -qx 'pressure = 30%' "$tmp/several/name=mom/experiment.ini"
check 'and no other' not grep -q 'idle-tax' "$tmp/several/name=mom/experiment.ini"
check 'the whole has all' sh -c "grep -qx 'idle-tax = 25%' '$tmp/several/experiment.ini' &&
	grep -qx 'pressure = 30%' '$tmp/several/experiment.ini'"
check 'and can be run' "$overbook" run "$tmp/several/experiment.ini" -q --no-figures -o "$tmp/several2"
check 'explain wants one of them' refused 'holds several runs' "$overbook" explain "$tmp/several"
check 'explain of one' says 'a: ' "$tmp/several/name=mom"
sed -i 's/^pressure = 30%/pressure = 130%/' "$tmp/vary.ini"
check 'a bad constant of another policy' refused 'for mom, allowed is' "$overbook" run "$tmp/vary.ini" -o "$tmp/x"

# --- a policy of one's own ---
cc=${CC:-cc}
build() { # build NAME SOURCE: a shared object with the header of the tree
	$cc -O2 -fPIC -shared -Wall -Wextra -Werror -o "$tmp/$1.so" "$2" -I. -DPOLICY_HEADER='"vmm/policy.h"'
}
mine() { run "$tmp/mine" --policy "$tmp/$1.so"; }
variant() { # variant NAME SED: the example, changed
	sed "$2" docs/policy-example/halves.c >"$tmp/$1.c" && build "$1" "$tmp/$1.c"
}
if ! command -v "$cc" >/dev/null; then
	skip 'no C compiler: policies of one'\''s own'
	finish
fi
check 'the example builds' build halves docs/policy-example/halves.c
check 'and runs' mine halves
check 'and decides' grep -q ',a-part,part=' "$tmp/mine/decisions.csv"
check 'and is explained in its own words' says 'works, and gets its part of' "$tmp/mine"
check 'relative to where one is' \
	sh -c "cd '$tmp' && '$overbook' run small.ini -q -f --no-figures -o rel --policy ./halves.so"
check 'the same decisions' cmp "$tmp/mine/decisions.csv" "$tmp/rel/decisions.csv"
check 'with its own constants' run "$tmp/mine" --policy "$tmp/halves.so" --set policy.reserve=40%
check 'that are checked' refused 'Allowed are name, interval, module, reserve, idle' \
	run "$tmp/x" --policy "$tmp/halves.so" --set policy.idle-tax=1%
check 'its own experiment.ini can be run' "$overbook" run "$tmp/mine/experiment.ini" -q --no-figures -o "$tmp/fourth"
cp -r "$tmp/mine" "$tmp/kept"
sed -i "s|^module = .*|module = $tmp/gone.so|" "$tmp/kept/experiment.ini"
check 'explained though it is gone' says 'rule a-part fired on part=' "$tmp/kept"
check 'no such file' refused 'there is no such file' run "$tmp/x" --policy ./nowhere.so
echo 'no elf' >"$tmp/text.so"
check 'no shared object' refused 'cannot be loaded' run "$tmp/x" --policy "$tmp/text.so"
check 'one without the symbol' variant nosymbol 's/overbook_policy/other_policy/'
check 'is none' refused 'no symbol overbook_policy' run "$tmp/x" --policy "$tmp/nosymbol.so"
check 'one for another version' variant oldabi 's/= POLICY_ABI/= POLICY_ABI + 1/'
check 'is refused' refused 'version 2 of overbook/policy.h, this program has version 1' \
	run "$tmp/x" --policy "$tmp/oldabi.so"
check 'one without decide()' variant nodecide 's/\.decide = decide,/.decide = 0,/; s/^static void decide/void decide/'
check 'is refused' refused 'has no decide()' run "$tmp/x" --policy "$tmp/nodecide.so"
check 'one with a key that every policy has' variant badkey 's/"reserve"/"interval"/'
check 'is refused' refused 'is one that every policy has' run "$tmp/x" --policy "$tmp/badkey.so"
check 'one with a default out of bounds' variant baddef 's/100000, 0, 900000/950000, 0, 900000/'
check 'is refused' refused 'no default within its bounds' run "$tmp/x" --policy "$tmp/baddef.so"
check 'one that asks for nonsense' variant wild 's/p->balloon = part .*/p->balloon = UINT64_MAX - 9 - i; p->limit = 1;/
	s/if (p->balloon > vm->balloon_limit)/if (0)/'
check 'is brought within bounds' mine wild
check 'and that is counted' grep -Eq '"policy_clamped" : [1-9]' "$tmp/mine/summary.json"
cat >"$tmp/all.ini" <<'END'
[expect more]
claim = more
value = operations
where = policy.name=mom
against = policy.name=none
min = 1
source = a guess
END
cat "$tmp/several/experiment.ini" "$tmp/all.ini" >"$tmp/judged.ini"
check 'instead of those that [vary] and [expect] name' \
	"$overbook" run "$tmp/judged.ini" -q -f --no-figures -o "$tmp/mine" --policy "$tmp/halves.so"
check 'it decides' grep -q ',a-part,part=' "$tmp/mine/decisions.csv"
check 'a policy by name and one of one'\''s own' refused 'only none is allowed' \
	run "$tmp/x" --set policy.name=esx --set "policy.module=$tmp/halves.so"
finish
