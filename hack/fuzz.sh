#!/usr/bin/env bash
# Runs every fuzz target of the repository for the time given, one after the other: go
# test -fuzz takes one target at a time. A finding is written to testdata/fuzz.
# Minimising is bounded: by default it takes up to 60 s an input, in which nothing is tried.
set -euo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT

grep -rHo --include='*_test.go' -E '^func Fuzz\w+' . | sed 's/func //' | sort -t: -k1,1 -k2,2 |
	while IFS=: read -r file target; do
		dir=$(dirname "$file")
		if ! go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x "$dir" >"$log" 2>&1 </dev/null; then
			cat "$log"
			echo "FAIL $dir $target: the input is now in $dir/testdata/fuzz/$target; commit it with the fix" >&2
			exit 1
		fi
		echo "ok   $dir $target $(sed -n 's/.*\(execs: [0-9]*\).*/\1/p' "$log" | tail -n 1)"
	done
