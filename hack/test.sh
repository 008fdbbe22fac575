#!/usr/bin/env bash
# `make test`: every stage in turn, each with its time; a failed one does not hide what
# the others have to say. Ends in one line that counts the tests.
set -uo pipefail

stages=(deps build lint test-unit test-race test-netns test-script test-mutation fuzz-short)

rm -rf bin/test
failed=()
summary=
for stage in "${stages[@]}"; do
	echo "== $stage"
	start=$SECONDS
	if make --no-print-directory "$stage"; then word=ok; else
		word=FAILED
		failed+=("$stage")
	fi
	line=$(printf -- '-- %-14s %-7s %4d s' "$stage" "$word" $((SECONDS - start)))
	echo "$line"
	summary+=$line$'\n'
	case $stage-$word in deps-FAILED | build-FAILED) break ;; esac # nothing after it means anything
done

echo
printf '%s' "$summary"
printf -- '-- %-22s %4d s\n' total $SECONDS
[ ! -d bin/test ] || hack/count.sh || failed+=("count: a test failed or, in CI, was never run")
if [ ${#failed[@]} -gt 0 ]; then
	printf 'FAILED: %s\n' "${failed[@]}"
	exit 1
fi
