#!/usr/bin/env bash
# Adds up the events of all stages. A test counts as skipped if no stage ran it: the
# unit stage skips what the kernel stages run. In CI that is a failure.
set -euo pipefail

awk '
function field(name) {
	if (!match($0, "\"" name "\":\"([^\"\\\\]|\\\\.)*\"")) return ""
	return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5)
}
/"Action":"(pass|fail|skip)"/ && /"Test":"/ {
	test = field("Package") "." field("Test")
	seen[test] = 1
	if (field("Action") == "pass") passed[test] = 1
	if (field("Action") == "fail") failed[test] = 1
}
END {
	for (test in seen) {
		if (test in failed) f++
		else if (test in passed) p++
		else { s++; print "skipped: " test | "sort" }
	}
	close("sort")
	printf "%d passed, %d failed, %d skipped\n", p, f, s
	if (ENVIRON["CI"] == "true" && s > 0) exit 1
	exit f > 0
}' bin/test/*.json
