#!/usr/bin/env bash
# The step of action.yml that installs: this very checkout, so that action and program are never of different versions,
# in an environment of its own, with the light dependencies that the lock names. -I: the working folder holds a stranger's files.
set -euo pipefail

home="$RUNNER_TEMP/reconciler"
python -I -m venv "$home"
bin="$home/bin"
test -d "$bin" || bin="$home/Scripts"
pip() { "$bin/python" -I -m pip --disable-pip-version-check --quiet "$@"; }
pip install --no-deps --require-hashes -r "$GITHUB_ACTION_PATH/requirements/base.txt"
pip install --no-deps --no-build-isolation "$GITHUB_ACTION_PATH"
printf '%s\n' "$bin" >> "$GITHUB_PATH"
