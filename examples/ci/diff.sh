#!/bin/sh
# Show what a change of the manifests does, in any CI that has a clone with both commits and `reconciler` on the path:
#
#     diff.sh BASE HEAD COMMENT.md
#
# Ends as `reconciler diff` does: 0 same, 1 differs, more is an error. COMMENT.md is there unless it could not be made.
#   DIFF_PATH         folder with the manifests (manifests)
#   DIFF_AGAINST      folder with the machines' reports, if there is one
#   DIFF_SOURCE_ROOT  folder below which the machines allow model folders, if one is outside of the repository
#   DIFF_FORMAT       what goes to stdout: text, json or github (text)
set -u

show() {
    reconciler diff --path="${DIFF_PATH:-manifests}" \
        ${DIFF_AGAINST:+--against="$DIFF_AGAINST"} \
        ${DIFF_SOURCE_ROOT:+--source-root="$DIFF_SOURCE_ROOT"} \
        -o "$1" -- "$base" "$head"
}

base=$1 head=$2 comment=$3
show "${DIFF_FORMAT:-text}"
code=$?
show markdown > "$comment" 2> /dev/null # what is wrong was said by the first
exit "$code"
