#!/bin/sh
# SPDX-License-Identifier: MIT
# Bad traces, texts and command lines: each ends with status 2, one line on stderr that names what is wrong,
# nothing on stdout, and leaves nothing behind.
set -u
overbook=$PWD/${B:-build}/overbook
passed=0 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
mkdir in out

bad() { # bad WORDS ARGUMENTS...: stderr must hold WORDS
	words=$1
	shift
	(cd out && "$overbook" trace "$@") >stdout 2>stderr </dev/null
	status=$?
	why=
	[ "$status" -eq 2 ] || why="status $status"
	[ ! -s stdout ] || why="$why, stdout not empty"
	[ "$(wc -l <stderr)" -eq 1 ] || why="$why, not one line of message"
	grep -q '^overbook: ' stderr || why="$why, no name before the message"
	grep -qF -e "$words" stderr || why="$why, message lacks \"$words\""
	[ -z "$(ls -A out)" ] || why="$why, leaves $(ls -A out)"
	if [ -z "$why" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL: trace $*: $why"
		cat stderr
		rm -rf out
		mkdir out
	fi
}
text() { # text WORDS CONTENTS: an import of those lines fails
	printf "$2" >in/text
	bad "$1" import ../in/text -o t.obt
}
flip() { # flip FILE OFFSET: the good trace with one byte changed
	cp in/good "in/$1"
	byte=$(od -An -tu1 -j "$2" -N 1 in/good)
	printf "\\$(printf %o $((byte ^ 85)))" | dd of="in/$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# A good trace to spoil.
i=0
while [ $i -lt 400 ]; do
	echo "$((i * i * 7919 % 100003 * 512 + i)),r"
	i=$((i + 1))
done >in/good.csv
"$overbook" trace import in/good.csv -o in/good || { echo "FAIL: cannot make a good trace"; exit 1; }
size=$(wc -c <in/good)

# --- command lines ---
bad "record, import, info or mrc"
bad 'no "recrod"' recrod
bad "no \"--json\"" --json
bad "give one trace" info
bad "give one trace" info ../in/good ../in/good
bad "Unknown option" info --jsn ../in/good
bad "give one trace" mrc
bad "give one trace" mrc ../in/good ../in/good
bad "Unknown option" mrc --polcy lru ../in/good
bad '"mru" is none of lru' mrc ../in/good --policy mru
bad '"" is none of lru' mrc ../in/good --policy lru,
bad '"LRU" is none of lru' mrc ../in/good --policy LRU
bad "names no policy" mrc ../in/good --policy ""
bad '"lru" twice' mrc ../in/good --policy lru,clock,lru
bad "names no size" mrc ../in/good --memory ""
bad '"": allowed is a size in B, KiB' mrc ../in/good --memory 1MiB,
bad '"x": allowed is a size' mrc ../in/good --memory x
bad '"-1MiB": allowed is' mrc ../in/good --memory=-1MiB
bad '"0": allowed is' mrc ../in/good --memory 0
bad '"4095": allowed is' mrc ../in/good --memory 4095
bad '"4097" is not a whole number of 4 KiB pages' mrc ../in/good --memory 4097
bad '"1MB": allowed is' mrc ../in/good --memory 1MB
bad '"1mib": allowed is' mrc ../in/good --memory 1mib
bad '"64TiB": allowed is' mrc ../in/good --memory 64TiB
bad '"99999999999999999999999MiB": allowed is' mrc ../in/good --memory 99999999999999999999999MiB
bad "seed" mrc ../in/good --seed many
bad "give one text" import ../in/good.csv
bad "give one text" import -o t.obt
bad "give one text" import ../in/good.csv ../in/good.csv -o t.obt
bad "it is lackey or csv" import ../in/good.csv -o t.obt --format json
bad "../in/none: cannot be opened" import ../in/none -o t.obt
bad "../in: " import ../in -o t.obt
bad "none/t.obt: cannot be written" import ../in/good.csv -o none/t.obt
bad "../in: cannot be written" import ../in/good.csv -o ../in
bad "give a COMMAND" record
bad "give a COMMAND" record -o t.obt --
bad "no such program" record -o t.obt -- no-such-program-anywhere
bad "no such program" record -o t.obt -- ./here-neither
bad "\"-5\": allowed is a whole number" record --limit=-5 -o t.obt -- true
bad "\"few\": allowed is a whole number" record --limit few -o t.obt -- true
bad "Missing argument" record -o

# --- files that are no traces ---
bad "../in/none: cannot be opened" info ../in/none
bad "../in: is not a file" info ../in
bad "/dev/null: is not a file" info /dev/null
: >in/empty
bad "../in/empty: is not a trace" info ../in/empty
bad "is not a trace" info ../in/good.csv
bad "is not a trace" mrc ../in/good.csv -o dir
bad "is not a trace" mrc ../in/good.csv --plot p.svg
for n in 1 79 80 81 200 $((size / 2)) $((size - 1)); do
	head -c "$n" in/good >in/short
	bad "../in/short: " info ../in/short
	bad "../in/short: " mrc ../in/short -o dir
done
cat in/good in/empty in/good.csv >in/long
bad "too long" info ../in/long
cat in/good in/good >in/twice
bad "too long" mrc ../in/twice
flip flipped 0
bad "is not a trace" info ../in/flipped
flip flipped 8
bad "version" info ../in/flipped
flip flipped 12
bad "version" info ../in/flipped
for at in 16 24 32 40 48 56 64 72; do
	flip flipped $at
	bad "../in/flipped: header: damaged" info ../in/flipped
done
for at in 80 84 100 150 $((size / 2)) $((size - 6)) $((size - 2)); do
	flip flipped $at
	bad "../in/flipped: " info ../in/flipped
	bad "../in/flipped: " mrc ../in/flipped -o dir
done

# --- texts ---
text "holds no access" ''
text "holds no access" '\n\n# only a comment\n'
text "holds no access" 'address,type\n'
text "holds no access" '==1== Lackey\n'
text "text:1: \"hello\"" 'hello\n'
text "text:2: " '0x1000,r\n0x2000\n'
text "text:2: " '0x1000,r\n0x2000,\n'
text "text:2: " '0x1000,r\n0x2000,x\n'
text "text:2: " '0x1000,r\n0x2000,read\n'
text "text:2: " '0x1000,r\n,r\n'
text "text:2: " '0x1000,r\n1000h,r\n'
text "text:2: " '0x1000,r\nff,r\n'
text "text:2: " '0x1000,r\n-1,r\n'
text "text:2: " '0x1000,r\n0x1000 r\n'
text "text:2: " '0x1000,r\n0x1000;r\n'
text "text:2: " '0x1000,r\n0x1000,r,8\n'
text "text:2: " '0x1000,r\n0x1000,r # here\n'
text "text:2: " '0x1000,r\naddress,type\n'
text "text:2: " '0x1000,r\n99999999999999999999999,r\n'
text "57 bits" '0x1000,r\n0xffffffff80000000,r\n'
text "text:2: " '0x1000,r\n L 04222ac0,4\n'
text "text:2: " ' L 04222ac0,4\n0x1000,r\n'
text "text:2: " ' L 04222ac0,4\n L 04222ac0\n'
text "text:2: " ' L 04222ac0,4\n L 04222ac0,x\n'
text "text:2: " ' L 04222ac0,4\n L 0x4222ac0,4\n'
text "text:2: " ' L 04222ac0,4\n L  04222ac0,4\n'
text "text:3: " ' L 04222ac0,4\n\n X 04222ac0,4\n'
text "text:2: " ' L 04222ac0,4\nI 04222ac0,4\n'
text "57 bits" ' S ffffffffff600000,8\n'
text "text:1: " '\177ELF\002\001\001\n'
text "text:1: " '\000\000\000\000'
text "too long" "$(printf '%05000d' 1),r\n"
printf '0x1000,r\n' >in/text
bad "text:1: " import ../in/text -o t.obt --format lackey
printf ' L 04222ac0,4\n' >in/text
bad "text:1: " import ../in/text -o t.obt --format csv
bad "good:1: " import ../in/good -o t.obt --format csv
bad "good:1: " import ../in/good -o t.obt

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
