#!/bin/sh
# SPDX-License-Identifier: MIT
# kernel.sh DIR: DIR/vmlinuz and DIR/modules/*.ko of the distribution's stock kernel, in the order to insert them
#
# Debian's linux-image-cloud-amd64, Ubuntu's linux-image-virtual: downloaded by apt-get as any user, unpacked, not
# installed. What is there is kept. Says in one line what it lacks; status 3.
set -u
dir=$1
metapackages='linux-image-cloud-amd64 linux-image-virtual'

fail() {
	echo "$1" >&2
	rm -rf "$dir.new"
	exit 3
}
[ -e "$dir/modules/order" ] && exit 0

for tool in apt-get apt-cache dpkg; do
	command -v $tool >/dev/null || fail "no $tool: the kernel comes out of a Debian or Ubuntu package"
done
arch=$(dpkg --print-architecture)
[ "$arch" = amd64 ] || fail "this is $arch, and the kernel must be amd64's"

# Package lists of our own, for where apt's are missing or too old: needs no root.
mkdir -p "$dir.apt/lists/partial" "$dir.apt/cache/archives/partial" || fail "cannot write $dir.apt"
apt=$(cd "$dir.apt" && pwd)
apt_options=
with_apt() {
	tool=$1
	shift
	# shellcheck disable=SC2086
	$tool $apt_options -q "$@"
}
own_lists() {
	apt_options="-o Dir::State::lists=$apt/lists -o Dir::Cache=$apt/cache"
	with_apt apt-get update >"$apt/log" 2>&1
}

# The package with the kernel, and on Ubuntu the one with its modules.
wanted() {
	for meta in $metapackages; do
		image=$(with_apt apt-cache depends "$meta" 2>/dev/null |
			sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -1)
		[ -n "$image" ] || continue
		echo "$image"
		modules=linux-modules-${image#linux-image-}
		[ -z "$(with_apt apt-cache policy "$modules" 2>/dev/null)" ] || echo "$modules"
		return
	done
}
fetch() {
	rm -rf "$dir.new"
	mkdir -p "$dir.new/deb" "$dir.new/root" "$dir.new/modules" || return 1
	packages=$(wanted)
	[ -n "$packages" ] || return 1
	# shellcheck disable=SC2086
	(cd "$dir.new/deb" && with_apt apt-get download $packages) >>"$apt/log" 2>&1
}
: >"$apt/log"
fetch || { own_lists && fetch; } ||
	fail "no package of $metapackages can be downloaded ($(grep '^E:' "$apt/log" | head -1))"
for deb in "$dir.new"/deb/*.deb; do
	dpkg -x "$deb" "$dir.new/root" || fail "dpkg cannot unpack $deb"
done
cp "$dir.new"/root/boot/vmlinuz-* "$dir.new/vmlinuz" || fail "no kernel in $packages"

# kvm-amd and what it depends on, uncompressed, those it needs first
take() { # take MODULE, with dashes or underscores
	name=$(echo "$1" | tr _ -)
	[ ! -e "$dir.new/modules/$name.ko" ] || return 0
	path=$(find "$dir.new/root" -name "$name.ko*" -o -name "$(echo "$name" | tr - _).ko*" | head -1)
	case $path in
	'') grep -qs "/$name.ko\$\|/$(echo "$name" | tr - _).ko\$" "$dir.new"/root/*/modules/*/modules.builtin \
		"$dir.new"/root/usr/lib/modules/*/modules.builtin && return 0
		fail "no module $name in $packages" ;;
	*.xz) xz -dc "$path" ;;
	*.zst) zstd -qdc "$path" ;;
	*.gz) gzip -dc "$path" ;;
	*) cat "$path" ;;
	esac >"$dir.new/modules/$name.ko" || fail "cannot uncompress $path"
	for needed in $(tr '\0' '\n' <"$dir.new/modules/$name.ko" | sed -n 's/^depends=//p' | tr , ' '); do
		take "$needed"
	done
	echo "$1" | tr _ - >>"$dir.new/modules/order"
}
take kvm-amd
rm -rf "$dir.new/deb" "$dir.new/root" "$dir.apt" "$dir"
mv "$dir.new" "$dir"
