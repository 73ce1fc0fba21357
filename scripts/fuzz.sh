#!/bin/sh
# Runs every fuzz target of the module, or those that begin with Fuzz$2, for the
# time given, and prints a table of them. What a target finds is minimised in
# ten runs, lest that takes its time.
set -u
table='' failed=0
for package in $(go list ./...); do
	for target in $(go test -list "^Fuzz${2:-}" "$package" | grep '^Fuzz' || true); do
		name="${package#*/*/*/}.$target"
		echo "$name"
		if out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x -parallel "${FUZZPARALLEL:-$(getconf _NPROCESSORS_ONLN)}" "$package" 2>&1); then
			result=ok
		else
			result=FAILED failed=1
			echo "$out"
		fi
		inputs=$(echo "$out" | sed -n 's/.*execs: \([0-9]*\).*/\1/p' | tail -n 1)
		table="$table$name\t${inputs:-0}\t$result\n"
	done
done
printf "target\tinputs\tresult\n$table" | expand -t 48,62
exit $failed
