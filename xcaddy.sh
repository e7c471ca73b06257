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
module=github.com/edgeauth/caddy-edgeauth
xcaddy=github.com/caddyserver/xcaddy/cmd/xcaddy@v0.4.5

require_go() {
	command -v go >/dev/null || { echo "xcaddy.sh: Go is needed: https://go.dev/doc/install" >&2; exit 1; }
	command -v git >/dev/null || { echo "xcaddy.sh: git is needed" >&2; exit 1; }
}

build() {
	require_go
	local version log
	version=$(cd "$root" && go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)
	log=$(mktemp)
	# The version stands for the folder: without one Go would ask the network for it.
	# In a folder of its own: xcaddy takes a go.mod where it runs for its own.
	if ! (cd "$(dirname "$log")" && GOFLAGS=-mod=mod go run "$xcaddy" build "$version" --with "$module@v0.0.0=$root" --output "$output" "$@") >"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		echo "xcaddy.sh: the build failed" >&2
		exit 1
	fi
	rm -f "$log"
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
