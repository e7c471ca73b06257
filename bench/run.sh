#!/usr/bin/env bash
# Measures what checking a request costs, against plain Caddy in the same run.
# Needs wrk and redis-server (Debian's packages). ROUNDS and SLICE (seconds of
# load for each case in a round) can be set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for program in wrk redis-server; do
	command -v "$program" >/dev/null || { echo "bench: $program is needed: apt-get install $program" >&2; exit 1; }
done
[ -n "${EDGE_AUTH_CADDY:-}" ] || { ./xcaddy.sh && EDGE_AUTH_CADDY=$PWD/caddy; }
exec env EDGE_AUTH_CADDY="$EDGE_AUTH_CADDY" go run ./bench -rounds "${ROUNDS:-5}" -slice "${SLICE:-2}s"
