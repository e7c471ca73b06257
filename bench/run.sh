#!/usr/bin/env bash
# Measures what checking a request costs, against plain Caddy in the same run.
# Needs wrk and redis-server (Debian's packages). ROUNDS and SLICE (seconds of
# load for each case in a round) can be set; EDGE_AUTH_CADDY names a binary to
# measure instead of building one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for program in wrk redis-server; do
	command -v "$program" >/dev/null || { echo "bench: $program is needed: apt-get install $program" >&2; exit 1; }
done
mkdir -p bench/out
if [ -z "${EDGE_AUTH_CADDY:-}" ]; then
	export EDGE_AUTH_CADDY=$PWD/bench/out/caddy
	OUTPUT=$EDGE_AUTH_CADDY ./xcaddy.sh
fi
# Not by `go run`: it dies of a SIGTERM without passing it on, and all would run on.
go build -o bench/out/bench ./bench
exec bench/out/bench -rounds "${ROUNDS:-5}" -slice "${SLICE:-2}s"
