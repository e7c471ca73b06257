#!/usr/bin/env bash
# Builds Caddy with this module, and runs it. Needs Go and git, nothing else.
#
#   ./xcaddy.sh                           builds ./caddy
#   ./xcaddy.sh build [xcaddy options]    the same, for example with --with another/module
#   ./xcaddy.sh run                       builds, and runs Caddyfile.example
#   ./xcaddy.sh run --config my.Caddyfile builds, and runs with these options of caddy run
#   ./xcaddy.sh sbom                      says what is in ./caddy: caddy.sbom.json (CycloneDX)
#
# OUTPUT names another file than ./caddy. Equal sources and an equal Go give an
# equal file, wherever they lie.
set -euo pipefail

usage() { sed -n '2,11s/^# \{0,1\}//p' "$0"; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=${OUTPUT:-$root/caddy}
[[ $output = /* ]] || output=$PWD/$output
module=github.com/edgeauth/caddy-edgeauth
xcaddy=github.com/caddyserver/xcaddy/cmd/xcaddy@v0.4.5
cyclonedx=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

scratch=
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT

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

# make_go writes the go that xcaddy calls. The path of this folder would stand in
# the binary, since xcaddy has it replace the module: before it builds, the
# folder is given a name next to xcaddy's main.go, the same in each build.
make_go() {
	scratch=$(mktemp -d)
	cat >"$scratch/go" <<-END
		#!/usr/bin/env bash
		set -e
		if [ "\$1" = build ]; then
			ln -s $(printf %q "$root") edge-auth
			$(printf %q "$(command -v go)") mod edit -replace $module@v0.0.0=./edge-auth
		fi
		exec $(printf %q "$(command -v go)") "\$@"
	END
	chmod +x "$scratch/go"
}

build() {
	require_go
	local version log
	# GOFLAGS of the caller may be meant for another module, as -mod=vendor is.
	version=$(cd "$root" && GOFLAGS=-mod=readonly go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)
	make_go
	# The version stands for the folder: without one Go would ask the network for it.
	log=$(GOFLAGS='-mod=mod -buildvcs=false' XCADDY_WHICH_GO=$scratch/go go run "$xcaddy" build "$version" --with "$module@v0.0.0=$root" --output "$output" "$@" 2>&1) || {
		printf '%s\n' "$log" >&2
		die "the build failed"
	}
	echo "built $output" >&2
}

# sbom lists the modules that are linked into the binary, with their hashes.
sbom() {
	[ -e "$output" ] || build
	require_go
	GOFLAGS=-mod=mod go run "$cyclonedx" bin -json -std -noserial -notimestamp -output "$output.sbom.json" "$output" ||
		die "no list was made"
	echo "wrote $output.sbom.json" >&2
}

case ${1:-build} in
build)
	shift || true
	build "$@"
	;;
run)
	shift
	build
	rm -rf "$scratch" # exec ends this script without its trap
	for option in "$@"; do
		case $option in
		-c | --config | -c=* | --config=*) exec "$output" run "$@" ;;
		esac
	done
	exec "$output" run --config "$root/Caddyfile.example" --adapter caddyfile "$@"
	;;
sbom)
	sbom
	;;
-h | --help | help)
	usage
	;;
*)
	usage >&2
	exit 2
	;;
esac
