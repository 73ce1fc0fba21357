#!/bin/sh
# Benchmarks the kernels now and at a git revision, in turn, and compares:
# those of a pattern, or all, which takes some ten minutes.
set -eu
ref=${1:?usage: make bench-compare REF=revision [BENCH=pattern]} pattern=${2:-.}
dir=$(mktemp -d)
trap 'git worktree remove --force "$dir/ref"; rm -rf "$dir"' EXIT
git worktree add --quiet "$dir/ref" "$ref"
go test -c -o "$dir/new.test" ./kernels
(cd "$dir/ref" && go test -c -o "$dir/old.test" ./kernels)
for _ in 1 2 3 4 5 6; do
	"$dir/old.test" -test.run '^$' -test.bench "$pattern" -test.benchmem -test.benchtime 0.2s >>"$dir/old.txt"
	"$dir/new.test" -test.run '^$' -test.bench "$pattern" -test.benchmem -test.benchtime 0.2s >>"$dir/new.txt"
done
go tool -modfile=tools/go.mod benchstat "$dir/old.txt" "$dir/new.txt"
