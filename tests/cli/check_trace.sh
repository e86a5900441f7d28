#!/bin/sh
# overbook trace as a user runs it: import, info, mrc, record; what a run leaves, what it says, how it ends.
set -u
overbook=$PWD/${B:-build}/overbook
root=$PWD
passed=0 failed=0 skipped=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

ok() { # ok NAME COMMAND...: the command must succeed
	name=$1
	shift
	if "$@" >ok.out 2>ok.err; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL: $name: $*"
		cat ok.out ok.err
	fi
	rm -f ok.out ok.err
}
skip() {
	skipped=$((skipped + 1))
	echo "SKIP: $1"
}
status_is() { # status_is N COMMAND...
	want=$1
	shift
	"$@" >/dev/null
	got=$?
	[ "$got" -eq "$want" ] || { echo "status $got, not $want"; return 1; }
}
same() { # same FILE: stdin is what must be in it
	diff "$1" -
}
left_alone() { # nothing hidden lies about
	[ -z "$(find . -name '.*' ! -name .)" ]
}

# --- import and info ---
cat >text.lackey <<'EOF'
==7== Lackey, an example Valgrind tool
I  0401ab70,3
 S 1fff000708,8
 L 1fff000708,8
 M 04222ac0,4
==7== 
EOF
ok "import lackey" "$overbook" trace import text.lackey -o l.obt
"$overbook" trace info l.obt >info.txt
ok "info counts reads" grep -q '^  reads  *2  ' info.txt
ok "info counts writes" grep -q '^  writes  *2  ' info.txt
ok "info counts fetches" grep -q '^  fetches  *1  ' info.txt
ok "info counts pages" grep -q '^pages  *3  ' info.txt
ok "info lists ranges" grep -q '^0x1fff000000 *0x1fff001000 *1  rw-$' info.txt
"$overbook" trace info --json l.obt >info.json
ok "info as JSON" grep -q '"accesses" : 5' info.json
ok "import from standard input" sh -c '"$1" trace import - -o p.obt <text.lackey && cmp p.obt l.obt' - "$overbook"
ok "import --data" "$overbook" trace import text.lackey --data -o d.obt
ok "--data leaves fetches out" sh -c '"$1" trace info d.obt | grep -q "^  fetches  *0 "' - "$overbook"
mkfifo slow
"$overbook" trace import slow -o i.obt 2>interrupted &
pid=$!
{ echo 1,r; sleep 0.3; kill -INT $pid; sleep 0.2; } >slow
wait $pid
ok "Ctrl-C ends an import: status 1" [ $? -eq 1 ]
ok "with a message" grep -q interrupted interrupted
ok "import replaces a file" "$overbook" trace import text.lackey -o d.obt
ok "and it is the new one" cmp d.obt l.obt

# --- mrc: the string of Belady, Nelson and Shedler, its counts in any textbook ---
echo "address,type" >belady.csv
for page in 1 2 3 4 1 2 5 1 2 3 4 5; do
	echo "$((page * 4096 + page)),r" >>belady.csv
done
ok "import CSV" "$overbook" trace import belady.csv -o b.obt
"$overbook" trace mrc b.obt --policy lru,fifo,opt --memory "12KiB, 16384" >b.csv
ok "mrc counts exactly" same b.csv <<'EOF'
policy,memory_bytes,requests,misses,cold_misses
lru,12288,12,10,5
lru,16384,12,8,5
fifo,12288,12,9,5
fifo,16384,12,10,5
opt,12288,12,7,5
opt,16384,12,6,5
EOF
"$overbook" trace mrc b.obt --policy clock,clock0,random >all.csv
ok "mrc by default goes on until everything fits" grep -q '^clock0,65536,12,5,5$' all.csv
"$overbook" trace mrc b.obt --memory 8KiB >four.csv
ok "four policies by default" sh -c '[ "$(cut -d, -f1 four.csv | tr "\n" " ")" = "policy lru clock fifo opt " ]'
if [ -f "$root/workloads/traces/sort.obt" ]; then
	"$overbook" trace mrc "$root/workloads/traces/sort.obt" --memory 1MiB,4MiB >sort.csv
	ok "the shipped trace's counts" diff sort.csv "$root/tests/cli/sort-mrc.csv"
	# 13 sizes go through the one-pass algorithm, two through replays.
	ok "many sizes at once, same counts" sh -c '"$1" trace mrc "$2" -p lru \
		-m 1MiB,4MiB,8KiB,16KiB,32KiB,64KiB,128KiB,256KiB,512KiB,768KiB,2MiB,3MiB,5MiB,6MiB |
		sed -n 2,3p >many &&
		sed -n 2,3p sort.csv | cmp - many' - "$overbook" "$root/workloads/traces/sort.obt"
fi

# --- figures ---
if command -v gnuplot >/dev/null; then
	ok "mrc -o DIR" "$overbook" trace mrc b.obt -o made/here
	"$overbook" trace mrc b.obt >plain.csv
	ok "the directory holds what was printed" cmp made/here/mrc.csv plain.csv
	ok "and a picture" grep -q '</svg>' made/here/mrc.svg
	ok "that gnuplot makes again" \
		sh -c 'cd made/here && mv mrc.svg old.svg && gnuplot mrc.gp && cmp old.svg mrc.svg'
	ok "a second time into the same directory" "$overbook" trace mrc b.obt -o made/here
	ok "mrc --plot" "$overbook" trace mrc b.obt --plot p.svg
	ok "draws the same" cmp p.svg made/here/mrc.svg
	cp b.obt "it's.obt"
	ok "a quote in a name" "$overbook" trace mrc "it's.obt" --plot q.svg
	ok "nothing hidden is left" left_alone
	mkdir bin
	ok "without gnuplot: status 3" status_is 3 env PATH="$dir/bin" "$overbook" trace mrc b.obt -o nowhere
	ok "and no directory" [ ! -e nowhere ]
else
	skip "gnuplot is missing: figures"
fi

# --- record ---
mkdir -p bin
printf '#!/bin/sh\n' >bin/true && chmod +x bin/true
ok "without valgrind: status 3" status_is 3 env PATH="$dir/bin" "$overbook" trace record -o n.obt -- true
ok "and no trace" [ ! -e n.obt ]
if command -v valgrind >/dev/null; then
	ok "record" "$overbook" trace record -o r.obt -- true
	ok "what was recorded is a trace" "$overbook" trace info r.obt
	ok "data only" sh -c '"$1" trace info r.obt | grep -q "^  fetches  *0 "' - "$overbook"
	ok "the command's status" status_is 7 "$overbook" trace record -o s.obt -- sh -c 'exit 7'
	ok "its trace is kept" "$overbook" trace info s.obt
	ok "the command's output" sh -c '[ "$("$1" trace record -o e.obt -- echo hello)" = hello ]' - "$overbook"
	ok "--limit" "$overbook" trace record --limit 1000 --instructions -o c.obt -- sh -c 'while :; do :; done'
	ok "keeps as many" sh -c '"$1" trace info c.obt | grep -q "^accesses  *1000$"' - "$overbook"
	ok "a name by default" sh -c '"$1" trace record --limit 10 true && [ -s true.obt ]' - "$overbook"
else
	skip "valgrind is missing: record"
fi
ok "nothing hidden is left" left_alone

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
