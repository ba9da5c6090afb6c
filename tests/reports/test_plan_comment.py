"""The comment of a plan: what a pull request can put into it stays inside of what we open, and it fits."""

from typing import Any

from reconciler.reports.pull_request import LONGEST_COMMENT, PLAN_MARKER, plan_comment

COST = {"downloadBytes": 0, "diskBytes": 1 << 20, "peakDiskBytes": 0, "peakMemoryBytes": 0, "seconds": None}


def plan(*changes: dict[str, Any]) -> dict[str, Any]:
    empty = {name: [] for name in ("held", "later", "problems", "warnings", "gates", "notSelected")}
    return {"changes": changes, "revision": "", **empty}


def change(old: str, new: str) -> dict[str, Any]:
    return {
        "action": "convert",
        "variant": "one-int4",
        "reason": "FieldsChanged",
        "cost": COST,
        "before": {"template": old},
        "after": {"template": new},
        "forcedBy": ["template"],
    }


def test_a_value_cannot_end_the_fence() -> None:
    comment = plan_comment(plan(change("old", "```\n</details>")))
    assert comment.startswith(f"{PLAN_MARKER}\n")
    assert "\n````diff\n- template: old\n+ template: ``` </details>\n````\n" in comment


def test_a_cut_leaves_nothing_open() -> None:
    comment = plan_comment(plan(*[change("old " * 50, "new " * 50)] * 120))
    assert len(comment.encode()) <= LONGEST_COMMENT
    assert comment.count("<details>") == comment.count("</details>") > 9
    assert comment.count("```") == 2 * comment.count("<details>")
    assert comment.endswith("(cut: the whole plan is in the job's log)\n")
