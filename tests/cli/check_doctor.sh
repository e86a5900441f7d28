#!/bin/sh
# SPDX-License-Identifier: MIT
# overbook doctor as a user runs it: what it finds is aligned lines, and what killed runs left is told and put back.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh

check 'doctor succeeds' "$overbook" doctor
cp "$tmp/out" "$tmp/doctor"
check 'each line is a verdict, what it is about, and a sentence' \
	sh -c "! grep -vE '^(ok|note|lacks) +[^ ].{13} [^ ]' '$tmp/doctor'"
check 'it tells of kvm whether there is one or not' grep -qE '^(ok|note|lacks) +kvm ' "$tmp/doctor"

sed 's/^operations = .*/operations = 1000/' workloads/hello.ini >"$tmp/short.ini"

if [ -w /dev/kvm ]; then
	check 'which KVM it is' grep -qE '^(ok|note) +kind of KVM +(VMX|SVM|software|hardware)' "$tmp/doctor"
	check 'whether ring 0 is emulated' \
		grep -qE '^(ok|note) +ring 0 +(emulated|runs on the processor), [0-9.]+ ns' "$tmp/doctor"
	check 'what an exit costs' grep -qE '^ok +exit +[0-9.]+ us' "$tmp/doctor"
else
	skip 'no /dev/kvm: nothing to tell of it'
fi
for what in userfaultfd io_uring O_DIRECT KSM 'host swap' 'huge pages' NUMA max_map_count memlock; do
	[ "$what" = userfaultfd ] && [ ! -w /dev/kvm ] && continue
	check "it tells of $what" grep -qE "^(ok|note|lacks) +$what " "$tmp/doctor"
done

# A run that was killed: its pid is nobody's (they end at 2^22).
OVERBOOK_RUNTIME_DIR=$tmp/state
export OVERBOOK_RUNTIME_DIR
left() {
	mkdir -p "$tmp/state"
	echo swap >"$tmp/leftover"
	cat >"$tmp/state/settings.json" <<-END
		{"boot": "$(cat /proc/sys/kernel/random/boot_id)", "changes": [
		{"kind": "file", "name": "$tmp/leftover", "who": "overbook run lost.ini", "pid": 4194305, "start": 1}]}
	END
}
left
check 'doctor tells what a killed run left' sh -c "'$overbook' doctor | grep 'lost.ini.*--repair'"
check 'and changes nothing' test -e "$tmp/leftover"
check 'doctor --repair puts it back' sh -c "'$overbook' doctor --repair | grep 'lost.ini.*leftover is removed'"
check 'the file is gone' test ! -e "$tmp/leftover"
check 'there is nothing left to do' sh -c "'$overbook' doctor --repair | grep 'nothing to put back'"
left
check 'the next run puts it back and says so in one line' sh -c "
	'$overbook' run '$tmp/short.ini' -q --no-figures -o '$tmp/run' 2>'$tmp/said' &&
	[ \$(grep -c lost.ini '$tmp/said') -eq 1 ] && [ ! -e '$tmp/leftover' ]"
rm -rf "$tmp/run"
check 'and the one after it says nothing' sh -c "
	'$overbook' run '$tmp/short.ini' -q --no-figures -o '$tmp/run' 2>&1 | (! grep .)"
rm -rf "$tmp/run"
echo '{' >"$tmp/state/settings.json"
check 'a journal that makes no sense stops nobody' \
	"$overbook" run "$tmp/short.ini" -q --no-figures -o "$tmp/run"
check 'nor the doctor' "$overbook" doctor
check 'doctor --nonsense is refused' status 2 "$overbook" doctor --nonsense
finish
