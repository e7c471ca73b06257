#!/usr/bin/env bash
# Builds Caddy with this module, and runs it. Needs Go and git, nothing else.
#
#   ./xcaddy.sh                           builds ./caddy
#   ./xcaddy.sh build [xcaddy options]    the same, for example with --with another/module
#   ./xcaddy.sh run                       builds, and runs Caddyfile.example
#   ./xcaddy.sh run --config my.Caddyfile builds, and runs with these options of caddy run
#
# OUTPUT names another file than ./caddy.
set -euo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=${OUTPUT:-$root/caddy}
[[ $output = /* ]] || output=$PWD/$output
module=github.com/edgeauth/caddy-edgeauth
xcaddy=github.com/caddyserver/xcaddy/cmd/xcaddy@v0.4.5

die() {
	echo "xcaddy.sh: $*" >&2
	exit 1
}

require_go() {
	command -v go >/dev/null || die "Go is needed: https://go.dev/doc/install"
	command -v git >/dev/null || die "git is needed"
	local need have
	need=go$(sed -n 's/^go //p' "$root/go.mod")
	# In this folder: Go from 1.21 on fetches the version that go.mod asks for,
	# unless it is told not to.
	have=$(cd "$root" && go env GOVERSION 2>/dev/null) || have=$(cd / && go env GOVERSION)
	printf '%s\n' "$need" "${have#devel }" | sort -VC || die "$need or newer is needed, this is $have: https://go.dev/doc/install"
}

build() {
	require_go
	local version log
	# GOFLAGS of the caller may be meant for another module, as -mod=vendor is.
	version=$(cd "$root" && GOFLAGS=-mod=readonly go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)
	# The version stands for the folder: without one Go would ask the network for it.
	log=$(GOFLAGS=-mod=mod go run "$xcaddy" build "$version" --with "$module@v0.0.0=$root" --output "$output" "$@" 2>&1) || {
		printf '%s\n' "$log" >&2
		die "the build failed"
	}
	echo "built $output" >&2
}

case ${1:-build} in
build)
	shift || true
	build "$@"
	;;
run)
	shift
	build
	for option in "$@"; do
		case $option in
		-c | --config | -c=* | --config=*) exec "$output" run "$@" ;;
		esac
	done
	exec "$output" run --config "$root/Caddyfile.example" --adapter caddyfile "$@"
	;;
-h | --help | help)
	usage
	;;
*)
	usage >&2
	exit 2
	;;
esac
