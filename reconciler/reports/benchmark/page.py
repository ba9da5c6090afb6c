"""A benchmark as one HTML page: everything is in it, it asks no server for anything, and no script runs. It has a light
and a dark look, and one for paper. What others wrote (names, prompts, answers, errors) is escaped as it is put in.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.domain.plain_data import as_dict
from reconciler.reports.benchmark.drawing import HEIGHT, WIDTH
from reconciler.reports.benchmark.plots import Plot, plots
from reconciler.reports.benchmark.report import busy_text, by_model, complaints, machine_facts, runs_text, table
from reconciler.reports.html.document import document
from reconciler.reports.text import cut

View = Mapping[str, Any]


def bench_page(view: View) -> str:
    """Needs matplotlib, which is an optional extra."""
    return document(
        "benchmark/page.html.j2",
        styles=("benchmark/page.css",),
        view=view,
        facts=machine_facts(view),
        busy=busy_text(view),
        runs=runs_text(view),
        models=_models(view),
        width=WIDTH,
        height=HEIGHT,
    ).html


def benchmark_shown(view: View) -> dict[str, Any]:
    """What the page of a machine shows of a benchmark, as plain data: the tables, and the plots as they were drawn.
    Needs matplotlib too."""
    models = [{**one, "plots": [_plain(plot) for plot in one["plots"]]} for one in _models(view)]
    return {"date": view["date"], "revision": view["revision"], "runs": runs_text(view), "models": models}


def _plain(plot: Plot) -> dict[str, Any]:
    shown = as_dict(plot) | {"description": plot.description}
    return {name: list(map(list, held)) if name == "rows" else held for name, held in shown.items()}


def _models(view: View) -> list[dict[str, Any]]:
    recommended = {found["model"]: found for found in view["recommendations"]}
    return [
        _model(f"m{number}", model, variants) | {"recommended": recommended.get(model)}
        for number, (model, variants) in enumerate(by_model(view).items())
    ]


def _model(name: str, model: str, variants: Sequence[View]) -> dict[str, Any]:
    return {
        "id": name,
        "name": model,
        "precisions": {one["variant"]: one["precision"] for one in variants},
        "problems": [f"{one['precision']}: {text}" for one in variants for text in complaints(one)],
        "rows": table(model, variants),
        "plots": plots(name, variants),
        "golden": _golden(variants),
    }


def _golden(variants: Sequence[View]) -> list[list[str]]:
    """A row for each golden prompt, and one of headings before them; none where none was asked."""
    most = max(len(one["golden"]) for one in variants)
    if not most:
        return []
    answered = [one for one in variants if len(one["golden"]) == most]
    rows = [
        [asked[0]["messages"][-1][1], f"{asked[0]['check']}: {asked[0]['expected']}", *map(_answer, asked)]
        for asked in zip(*(one["golden"] for one in answered), strict=True)
    ]
    return [["asked", "wanted", *(one["precision"] for one in answered)], *rows]


def _answer(golden: View) -> str:
    return f"{'right' if golden['passed'] else 'WRONG'}: {cut(golden['answer'].strip())}"  # the JSON holds all of it
