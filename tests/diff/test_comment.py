"""The comment of a pull request, from views that whoever opened it could bring about."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from reconciler.reports.diff_render import diff_github, diff_text
from reconciler.reports.pull_request import DIFF_MARKER, LONGEST_COMMENT, diff_comment

GOLDEN = Path(__file__).parent / "golden"
COST = {"downloadBytes": 0, "diskBytes": 1 << 20, "peakDiskBytes": 3 << 20, "peakMemoryBytes": 0, "seconds": None}


def model(name: str, **changes: Any) -> dict[str, Any]:
    step = {"action": "convert", "reason": "RecipeChanged", "variant": f"{name}-int4", "cost": COST}
    fields = {"forcedBy": ["spec.source"], "before": {"spec.source": "a"}, "after": {"spec.source": "b"}}
    return {
        "name": name,
        "file": f"manifests/{name}.yaml",
        "line": 3,
        "declared": "changed",
        "fields": [{"name": "metadata.labels.team", "before": None, "after": "one"}],
        "costUnknown": False,
        "chooses": [],
        "changes": [step | fields],
        "held": [],
    } | changes


def view(*models: Any, **changes: Any) -> dict[str, Any]:
    return {
        "path": "manifests",
        "base": {"revision": "main", "commit": "1" * 40},
        "head": {"revision": "2" * 40, "commit": "2" * 40},
        "differs": True,
        "models": list(models),
        "templates": [],
        "rollouts": [],
        "machines": [],
        "cost": {"downloadBytes": 0, "diskBytes": 1 << 20, "seconds": 75.0, "known": True},
        "disk": {"beforeBytes": 1 << 20, "peakBytes": 4 << 20, "afterBytes": 2 << 20},
        "policies": [],
        "problems": [],
        "warnings": [],
    } | changes


def policy(text: str) -> dict[str, Any]:
    names = ("policy", "rule", "model", "precision", "message", "policyFile")
    return dict.fromkeys(names, text) | {"result": "fail", "policyLine": 4, "new": True}


def problem(text: str) -> dict[str, Any]:
    known = {"code": "InvalidValue", "file": text, "line": 4, "field": text, "message": text, "hint": text}
    return known | {"new": True}


HOSTILE = (
    "@everyone",
    "<!-- x --> <script>alert(1)</script>",
    "``` \n```\n# heading",
    "````````\n@all",
    "a | b | c",
    "![x](https://example.com/x.png) [y](https://example.com)",
    "https://example.com www.example.com",
    "\x1b[31mred\x1b]0;title\x07 \u202e \u200b",
    "\n::stop-commands::x\n::error::y",
    "</details></summary><img src=x onerror=y>",
    "\n\n---\n- [ ] task",
)


def everywhere(text: str) -> dict[str, Any]:
    """A view in which everything that can be chosen from outside says `text`."""
    one = model(text, file=text, fields=[{"name": text, "before": text, "after": [text]}])
    one["chooses"] = [text]
    one["changes"][0] |= {"variant": text, "forcedBy": [text], "before": {text: text}, "after": {text: text}}
    one["held"] = [{"variant": text, "reason": "Suspended", "message": text}]
    side = {"origin": text, "text": text, "reason": "", "tokens": 1, "exact": False}
    template = {"models": [text], "before": side, "after": side | {"text": text * 2}}
    machine = {"name": text, "file": text, "generated": text, "ageDays": None, "old": True, "disk": {}}
    failure = {"variant": text, "kind": "disk", "message": text}
    verdict = {"gate": text, "measure": text, "status": "Failed", "message": text, "rejects": True}
    bar = {"variant": text, "gate": text, "measure": text, "low": 1.0, "high": 2.0}
    gates = [bar | {"before": None, "after": verdict}, bar | {"before": verdict, "after": None}]
    group = {"machines": [machine], "changes": one["changes"], "held": one["held"], "failures": [failure]}
    group |= {"gates": gates, "chosen": [{"model": text, "message": text}]}
    return view(
        one,
        path=text,
        base={"revision": text, "commit": "1" * 40},
        templates=[template | {"tokensDifference": 1, "exact": False}],
        machines=[group | {"cost": COST}],
        policies=[policy(text)],
        problems=[problem(text)],
        warnings=[problem(text)],
    )


def rendered_tokens(comment: str) -> list[Any]:
    flat = []
    for token in MarkdownIt("commonmark").enable("table").parse(comment):
        flat += [token, *(token.children or [])]
    return flat


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_not_escape_the_comment(text: str) -> None:
    comment = diff_comment(everywhere(text))
    assert comment.startswith(DIFF_MARKER + "\n")
    tokens = rendered_tokens(comment)
    kinds = {token.type for token in tokens}
    assert not kinds & {"image", "link_open", "heading_open", "hr"}
    html = {token.content.strip() for token in tokens if token.type in ("html_inline", "html_block")}
    allowed = {DIFF_MARKER.strip(), "</details>"}
    for found in html:
        assert found in allowed or re.fullmatch(r"<details><summary>[^<>]*</summary>", found), found
    spoken = [token.content for token in tokens if token.type in ("text", "html_block", "html_inline")]
    assert not any(re.search(r"@\w|https?://|www\.\w", said) for said in spoken)
    assert "\x1b" not in comment
    assert "\u202e" not in comment


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_no_command_of_the_workflow(text: str) -> None:
    lines = diff_github(everywhere(text)).splitlines()
    assert all(re.match(r"::(error|warning|notice)( |::)", line) for line in lines)
    assert not any("\x1b" in line for line in (*lines, diff_text(everywhere(text))))


def test_a_comment_never_outgrows_what_github_takes() -> None:
    many = view(*(model(f"model-{number:05}-{'ü' * 40}") for number in range(3000)))
    comment = diff_comment(many)
    assert len(comment.encode()) <= LONGEST_COMMENT
    assert comment.endswith("(cut: the whole comparison is in the job's log)\n")
    assert comment.count("<details>") == comment.count("</details>")
    assert comment.count("```") % 2 == 0


@pytest.mark.parametrize("output", ["text", "markdown", "github"])
def test_what_is_shown(output: str) -> None:
    """UPDATE_GOLDEN=1 writes it."""
    one = everywhere("words")
    one["models"].append(model("second", declared="added", fields=[], costUnknown=True))
    text = {"text": diff_text, "markdown": diff_comment, "github": diff_github}[output](one)
    golden = GOLDEN / f"{output}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    assert json.dumps(one)
