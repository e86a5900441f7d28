# SPDX-License-Identifier: MIT
# files.sh - the files of this tree, for checks that look at all of them
# shellcheck shell=sh

# files [PATTERN...]: those that match one of the patterns, as git ls-files has them; all. Where git does not know the
# tree (an archive, somebody else's clone): what is there, but for what is made.
files() {
	git ls-files "$@" 2>/dev/null && return
	made='-path ./.git -o -path ./build -o -path ./results/runs'
	# shellcheck disable=SC2086
	list=$(find . \( $made \) -prune -o -type f -print | sed 's,^\./,,' | sort)
	for pattern in "${@:-*}"; do
		echo "$list" | while read -r f; do
			# shellcheck disable=SC2254
			case $f in $pattern | $pattern/*) echo "$f" ;; esac
		done
	done
}
