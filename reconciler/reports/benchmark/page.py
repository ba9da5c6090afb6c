"""A benchmark as one HTML page: everything is in it, it asks no server for anything, and no script runs. It has a light
and a dark look, and one for paper. What others wrote (names, prompts, answers, errors) is escaped as it is put in.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.units import size_text
from reconciler.reports.benchmark.drawing import HEIGHT, WIDTH
from reconciler.reports.benchmark.plots import plots
from reconciler.reports.benchmark.text import busy_text, by_model, runs_text, table, too_long

View = Mapping[str, Any]

LONGEST_ANSWER = 160  # characters; the JSON holds all


def bench_page(view: View) -> str:
    """Needs matplotlib, which is an optional extra."""
    recommended = {found["model"]: found for found in view["recommendations"]}
    models = [
        _model(f"m{number}", model, variants, recommended.get(model))
        for number, (model, variants) in enumerate(by_model(view).items())
    ]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            view=view,
            facts=list(_facts(view)),
            busy=busy_text(view),
            runs=runs_text(view),
            models=models,
            width=WIDTH,
            height=HEIGHT,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:]}."
    return environment


def _visible(held: object) -> object:
    """Of what the template puts in: control characters, which no escaping of HTML touches, shown as `\\x1b`. What is
    markup already (a subclass of `str`) was made here."""
    return for_terminal(held) if type(held) is str else held


def _facts(view: View) -> Iterator[str]:
    machine = view["machine"]
    yield machine["cpu"] or "unknown processor"
    yield f"{machine['cpus']} cpus"
    if machine["memoryBytes"]:
        yield f"{size_text(machine['memoryBytes'])} of memory"
    yield f"{machine['os']} {machine['arch']}"
    yield from (f"{package} {version}" for package, version in machine["runtime"].items())
    yield view["date"]


def _model(name: str, model: str, variants: Sequence[View], recommended: View | None) -> dict[str, Any]:
    return {
        "name": model,
        "recommended": recommended,
        "precisions": {one["variant"]: one["precision"] for one in variants},
        "problems": list(_problems(variants)),
        "headings": [model, *(one["precision"] for one in variants)],
        "rows": table(variants),
        "plots": plots(name, variants),
        "golden": _golden(variants),
    }


def _problems(variants: Sequence[View]) -> Iterator[str]:
    for one in variants:
        if one["problem"]:
            yield f"{one['precision']}: {one['problem']['code']}: {one['problem']['message']}"
        yield from (f"{one['precision']}: {text}" for text in too_long(one))


def _golden(variants: Sequence[View]) -> dict[str, Any] | None:
    asked = next((one["golden"] for one in variants if one["golden"]), None)
    if asked is None:
        return None
    answered = [one for one in variants if len(one["golden"]) == len(asked)]
    rows = [
        [
            golden["messages"][-1][1],
            f"{golden['check']}: {golden['expected']}",
            *(_answer(one["golden"][place]) for one in answered),
        ]
        for place, golden in enumerate(asked)
    ]
    return {"headings": ["asked", "wanted", *(one["precision"] for one in answered)], "rows": rows}


def _answer(golden: View) -> str:
    answer = golden["answer"].strip()
    cut = answer if len(answer) <= LONGEST_ANSWER else f"{answer[:LONGEST_ANSWER]}..."
    return f"{'right' if golden['passed'] else 'WRONG'}: {cut}"
