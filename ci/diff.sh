#!/usr/bin/env bash
# The step of action.yml that shows: annotations on stdout, the comment in the job's summary and in a folder that becomes
# an artifact, for the workflow that may write (ci/comment). Nothing here needs a token.
set -euo pipefail

refuse() {
    printf '::error title=reconciler diff::%s\n' "$1"
    exit 2
}

commit() {
    git rev-parse --verify --quiet --end-of-options "$1^{commit}"
}

head=$(commit "$DIFF_HEAD") || refuse 'there is no such head commit; check it out with actions/checkout'
if [ -n "$DIFF_BASE" ]; then
    base=$(commit "$DIFF_BASE") || refuse 'the base commit is not in this clone; give actions/checkout a fetch-depth of 0'
else
    # The merge commit of a pull request: merged into its first parent, as it would be now. Any other commit has a
    # first parent too, and comparing with that would hide all but the last commit.
    commit "$head^2" > /dev/null || refuse 'the head is no merge commit, or its parents were not fetched: give actions/checkout a fetch-depth of 2, or this action a base'
    base=$(commit "$head^1")
fi

folder="$RUNNER_TEMP/reconciler-diff"
mkdir -p "$folder"
code=0
DIFF_FORMAT=github "$GITHUB_ACTION_PATH/examples/ci/diff.sh" "$base" "$head" "$folder/comment.md" || code=$?

if [ -s "$folder/comment.md" ]; then
    cat "$folder/comment.md" >> "$GITHUB_STEP_SUMMARY"
    if [ -n "$PULL_REQUEST" ]; then
        printf '%s\n' "$PULL_REQUEST" > "$folder/number"
        printf 'folder=%s\n' "$folder" >> "$GITHUB_OUTPUT"
    fi
fi
case $code in
    0) printf 'differs=false\n' >> "$GITHUB_OUTPUT" ;;
    1) printf 'differs=true\n' >> "$GITHUB_OUTPUT" ;;
    *) exit "$code" ;;
esac
