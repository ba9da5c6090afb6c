"""A benchmark as one HTML page: everything is in it, nothing is asked of any server, and no script runs. Light, dark
and paper. Whatever others wrote (names, prompts, answers, errors) is escaped where it is put in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.domain.escape import for_html
from reconciler.domain.units import size_text
from reconciler.reports.benchmark.plots import Plot, plots
from reconciler.reports.benchmark.style import STYLE
from reconciler.reports.benchmark.text import busy_text, by_model, runs_text, table, too_long

View = Mapping[str, Any]

LONGEST_ANSWER = 160  # characters; the JSON holds all
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def bench_page(view: View) -> str:
    title = f"{', '.join(by_model(view)) or 'Nothing'}: precisions measured"
    body = "\n".join([*_head(view), *_models(view), *_method(view)])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{for_html(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(view: View) -> Iterator[str]:
    yield "<header>"
    yield f"<h1>Which precision for {for_html(view['machine']['name'])}?</h1>"
    yield f'<p class="facts">{" · ".join(f"<span>{for_html(fact)}</span>" for fact in _facts(view))}</p>'
    if not view["complete"]:
        yield '<p class="note">Interrupted: this is what was measured until then.</p>'
    if not view["recorded"]:
        yield '<p class="note">Measured beside another reconciler at work: nothing was recorded for gates.</p>'
    if busy := busy_text(view):
        yield f'<p class="note">{for_html(busy[0].upper() + busy[1:])}.</p>'
    yield "</header>"


def _facts(view: View) -> Iterator[str]:
    machine = view["machine"]
    yield machine["cpu"] or "unknown processor"
    yield f"{machine['cpus']} cpus"
    if machine["memoryBytes"]:
        yield f"{size_text(machine['memoryBytes'])} of memory"
    yield f"{machine['os']} {machine['arch']}"
    yield from (f"{package} {version}" for package, version in machine["runtime"].items())
    yield view["date"]


def _models(view: View) -> Iterator[str]:
    recommended = {found["model"]: found for found in view["recommendations"]}
    for number, (model, variants) in enumerate(by_model(view).items()):
        yield f'<section aria-labelledby="m{number}">'
        yield f'<h2 id="m{number}">{for_html(model)}</h2>'
        yield from _recommendation(recommended.get(model), variants)
        yield from _problems(variants)
        yield _table([model, *(one["precision"] for one in variants)], table(variants), "numbers")
        yield '<div class="plots">'
        yield from map(_figure, plots(f"m{number}", variants))
        yield "</div>"
        yield from _golden(variants)
        yield "</section>"


def _recommendation(found: View | None, variants: Sequence[View]) -> Iterator[str]:
    if found is None:
        return
    precisions = {one["variant"]: one["precision"] for one in variants}
    chosen = precisions.get(found["variant"], "none")
    yield '<div class="choice">'
    yield f"<p><span>Recommended here</span> <strong>{for_html(chosen)}</strong></p>"
    yield f"<p>{for_html(_sentence(found['reason']))}</p>"
    if found["against"]:
        yield "<ul>"
        for variant, why in found["against"].items():
            yield f"<li><b>Not {for_html(precisions.get(variant, variant))}:</b> {for_html(why)}</li>"
        yield "</ul>"
    yield "</div>"


def _sentence(said: str) -> str:
    return said[:1].upper() + said[1:] + "."


def _problems(variants: Sequence[View]) -> Iterator[str]:
    for one in variants:
        if one["problem"]:
            said = f"{one['precision']}: {one['problem']['code']}: {one['problem']['message']}"
            yield f'<p class="note">{for_html(said)}</p>'
        for said in too_long(one):
            yield f'<p class="note">{for_html(one["precision"] + ": " + said)}</p>'


def _figure(plot: Plot) -> str:
    numbers = _table(plot.headings, plot.rows, "small") if plot.rows else ""
    said = f"<h3>{for_html(plot.title)}</h3>\n<p>{for_html(plot.words)}</p>"
    return f"<figure>\n<figcaption>{said}</figcaption>\n{plot.picture}\n{numbers}\n</figure>"


def _golden(variants: Sequence[View]) -> Iterator[str]:
    asked = next((one["golden"] for one in variants if one["golden"]), None)
    if asked is None:
        return
    answered = [one for one in variants if len(one["golden"]) == len(asked)]
    rows = [
        [
            golden["messages"][-1][1],
            f"{golden['check']}: {golden['expected']}",
            *(_answer(one["golden"][place]) for one in answered),
        ]
        for place, golden in enumerate(asked)
    ]
    yield "<h3>Golden prompts</h3>"
    yield _table(["asked", "wanted", *(one["precision"] for one in answered)], rows, "golden")


def _answer(golden: View) -> str:
    return f"{'right' if golden['passed'] else 'WRONG'}: {_cut(golden['answer'].strip())}"


def _cut(said: str) -> str:
    return said if len(said) <= LONGEST_ANSWER else f"{said[:LONGEST_ANSWER]}..."


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], kind: str) -> str:
    """It scrolls by itself where the screen is narrow, never the page."""
    head = "".join(f'<th scope="col">{for_html(one)}</th>' for one in headings)
    lines = [
        f'<tr><th scope="row">{for_html(first)}</th>{"".join(f"<td>{for_html(one)}</td>" for one in others)}</tr>'
        for first, *others in rows
    ]
    body = "\n".join(lines)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _method(view: View) -> Iterator[str]:
    yield "<footer>"
    yield f"<p>Measured by <code>reconciler bench</code>: {for_html(runs_text(view))}. {_METHOD}</p>"
    yield "</footer>"


_METHOD = (
    "Each process loads the model in the runtime that serves it, on a catalog of its own, answers once to warm up, and "
    "then three times at each prompt length, greedy. Tokens a second are counted from the first token on; where an "
    "answer comes in one piece, as that of a tiny model does, over the whole of it. Memory is what the process holds, "
    "runtime included. Fidelity is measured once for each artifact, against the source in fp32, over fixed texts. The "
    "recommendation: what runs, passes its gates, fits into 80 % of the memory, answers most golden prompts and agrees "
    "with its source on 90 % of tokens; of those the smallest, unless a larger one is hardly larger, or half as fast "
    "again."
)
