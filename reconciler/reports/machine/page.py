"""The page of one machine as HTML, from its JSON view. Each section is made by itself and has a digest, so that a page
that is open renews only what changed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.reports.benchmark.drawing import HEIGHT, WIDTH
from reconciler.reports.history import short_revision
from reconciler.reports.html.document import Document, document, fragment
from reconciler.reports.render import field_rows, summary, target
from reconciler.reports.text import action_word, built_by, cost_text, problem_line, tally, verdict_sign

View = Mapping[str, Any]

# In the order of the page, with their names in the navigation ("" for those that it does not name).
SECTIONS = {
    "overview": "",
    "attention": "",
    "models": "Models",
    "plan": "Plan",
    "disk": "Disk",
    "history": "Releases",
    "benchmark": "Benchmark",
    "declared": "Declared",
    "events": "Events",
}
_DIGITS = 16
_SIGNS = {"ok": "good", "failed": "bad", "a warning": "wait", "open": "quiet"}


@dataclass(frozen=True, kw_only=True)
class MachinePage:
    """`sections` are the parts of the page by name, `digests` say which of them are others than before."""

    document: Document
    sections: Mapping[str, str]
    digests: Mapping[str, str]


def machine_page(view: View) -> MachinePage:
    helpers = {
        "built_by": built_by,
        "action_word": action_word,
        "cost_text": cost_text,
        "field_rows": field_rows,
        "problem_line": problem_line,
        "short_revision": short_revision,
        "sign": verdict_sign,
        "tone_of_sign": _SIGNS,
        "plan_summary": summary,
        "tally": tally,
        "target": target,
        "plot_width": WIDTH,
        "plot_height": HEIGHT,
    }
    bodies = {name: fragment(f"machine/{name}.html.j2", view=view, **helpers) for name in SECTIONS}
    digests = {name: hashlib.sha256(body.encode()).hexdigest()[:_DIGITS] for name, body in bodies.items()}
    sections = {
        name: fragment("machine/section.html.j2", name=name, title=SECTIONS[name], digest=digests[name], body=body)
        for name, body in bodies.items()
    }
    page = document(
        "machine/page.html.j2",
        styles=["machine/machine.css"],
        scripts=["machine/live.js"],
        asks_its_server=True,
        view=view,
        sections=sections,
        titles=SECTIONS,
    )
    return MachinePage(document=page, sections=sections, digests=digests)
