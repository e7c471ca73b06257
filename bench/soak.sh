#!/usr/bin/env bash
# Loads three gateways (two that share a Redis, one with the embedded store) for an
# hour, while configs are loaded, credentials are revoked, and Redis and the like fail
# at random; judges each answer, and watches memory, goroutines and descriptors. Caches
# are filled before, which takes some minutes: what grows then is a leak. Exits
# with 1 if one answer was wrong. Needs redis-server. `-for 2m` is a short one, `-rate`
# says how many requests a second; EDGE_AUTH_CADDY names a binary to load instead of
# building one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v redis-server >/dev/null || { echo "soak: redis-server is needed: apt-get install redis-server" >&2; exit 1; }
mkdir -p bench/out
if [ -z "${EDGE_AUTH_CADDY:-}" ]; then
	export EDGE_AUTH_CADDY=$PWD/bench/out/caddy
	OUTPUT=$EDGE_AUTH_CADDY ./xcaddy.sh
fi
# Not by `go run`: it would not pass a signal on.
go build -o bench/out/soak ./bench/soak
exec bench/out/soak -json bench/out/soak.json "$@"
