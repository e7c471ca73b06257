#!/usr/bin/env bash
# Compares the benchmarks of the authentication step, of the cache and of a new token
# with those of another commit: bench/compare.sh [commit]. Default: the last commit on
# main. COUNT is how often each is run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
before=${1:-main}
out=$(mktemp -d)
trap 'git worktree remove --force "$out/before" 2>/dev/null || true; rm -rf "$out"' EXIT
git worktree add --quiet --detach "$out/before" "$before"
measure() {
	go test -run '^$' -bench 'Step|Growth|Get|Unpack|Cold' -benchmem -count "${COUNT:-6}" . ./cache ./identity ./authenticators/jwt
}
(cd "$out/before" && measure) >"$out/before.txt"
measure >"$out/now.txt"
go tool -modfile=tools/go.mod benchstat "$out/before.txt" "$out/now.txt"
