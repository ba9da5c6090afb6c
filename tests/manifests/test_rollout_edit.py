"""A Rollout is changed in its file as a person would do it: everything else, comments too, stays as it is."""

import difflib

import pytest

from reconciler.domain.errors import UsageError
from reconciler.domain.rollout import Abortion, Promotion
from reconciler.manifests.rollouts.edit import with_flag, with_item

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
TEXT = """\
# the fleet
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: phi}
spec: {source: {path: ../m}, precisions: [int4]}
---
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata:
    name: edge   # ours
spec:
    # canaries first
    rings:
        - {name: canary, share: 0.1}
        - name: broad
"""
ITEM = f'{{release: "{ONE}", ring: canary}}'


def changes(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def promoted(text: str, release: str = ONE) -> str:
    return with_item(text, "r.yaml", "edge", "promoted", Promotion(release=release, ring="canary"))


def paused(text: str, value: bool = True) -> str:
    return with_flag(text, "r.yaml", "edge", "paused", value)


def test_a_pause_is_one_line_and_its_end_takes_it_away() -> None:
    once = paused(TEXT)
    assert changes(TEXT, once) == ["+     paused: true"]
    assert paused(once) == once
    assert paused(once, False) == TEXT
    assert paused(TEXT, False) == TEXT
    assert changes(TEXT, paused(TEXT + "    paused: false  # for now\n")) == ["+     paused: true"]


WRITTEN = [
    ("none yet", TEXT, ["+     promoted:", f"+       - {ITEM}"]),
    ("a list", TEXT + f"    promoted:\n      - release: {TWO}\n", [f"+       - {ITEM}"]),
    ("an empty list", TEXT + "    promoted: []\n", ["-     promoted: []", f"+     promoted: [{ITEM}]"]),
]


@pytest.mark.parametrize(("case", "text", "expected"), WRITTEN)
def test_an_item_is_added(case: str, text: str, expected: list[str]) -> None:
    after = promoted(text)
    assert changes(text, after) == expected, case
    assert promoted(after) == after  # it is there


def test_a_reason_is_text_whatever_is_in_it() -> None:
    why = 'bad: "answers" # and \\ more'
    after = with_item(TEXT, "r.yaml", "edge", "aborted", Abortion(release=ONE, reason=why))
    assert with_item(after, "r.yaml", "edge", "aborted", Abortion(release=ONE, reason=why)) == after


def test_what_a_program_cannot_change_is_named_with_what_to_write() -> None:
    flat = TEXT[: TEXT.index("spec:\n")] + "spec: {rings: [{name: broad}]}\n"
    with pytest.raises(UsageError) as error:
        paused(flat)
    assert error.value.hint == "write it yourself, below spec: paused: true"
    with pytest.raises(UsageError, match="has no Rollout late"):
        with_flag(TEXT, "r.yaml", "late", "paused", True)
