#!/usr/bin/env bash
# Runs every fuzz target of the repository for the time given, one after the other: go
# test -fuzz takes one target at a time. A finding is written to testdata/fuzz.
# Minimising is bounded: by default it takes up to 60 s an input, in which nothing is tried.
set -euo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# raced reports whether a run failed by its own clock and by nothing else: up to Go 1.26
# the end of -fuzztime is at times taken for a failure of the target (golang.org/issue/75804).
raced() {
	grep -qxE ' +context deadline exceeded' "$log" &&
		! grep -qE 'Failing input written|failure while testing|panic|_test\.go:|hung or terminated' "$log"
}

grep -rHo --include='*_test.go' -E '^func Fuzz\w+' . | sed 's/func //' | sort -t: -k1,1 -k2,2 |
	while IFS=: read -r file target; do
		dir=$(dirname "$file")
		if ! go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x "$dir" >"$log" 2>&1 </dev/null && ! raced; then
			cat "$log"
			echo "FAIL $dir $target: commit the input that go test has written, if any, with the fix" >&2
			exit 1
		fi
		execs=$(sed -n 's/.*\(execs: [0-9]*\).*/\1/p' "$log" | tail -n 1)
		echo "ok   $dir $target ${execs:-seeds only: the time was over before anything new was tried}"
	done
