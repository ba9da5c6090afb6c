"""The model sheet: one page about a declared model for people who answer for it, as Markdown. What it is, where from,
under which licence, what policies say, how it was converted and measured, whose build it is, where it is served. Reads
the JSON view of `explain` only; what others wrote in it is made harmless.
"""

from collections.abc import Iterable, Iterator

from reconciler.domain.text.escape import for_markdown
from reconciler.domain.text.units import size_text
from reconciler.domain.verdict import shown_number
from reconciler.reports.text import Shown, built_by, markdown_row, verdict_sign

MOST_NAMED = 20

Row = tuple[str, str]


def sheet(view: Shown) -> str:
    """A page that ends in a line end."""
    return (
        "\n".join(
            (*_head(view), *_about(view), *(line for one in view["variants"] for line in _variant(one)), *_open(view))
        )
        + "\n"
    )


def _head(view: Shown) -> Iterator[str]:
    model = view["model"]
    yield f"# {for_markdown(model['name'])}"
    yield ""
    where = f"{model['file']}:{model['line']}"
    yield for_markdown(f"Declared in {where} ({view['revision']}); as {view['machine']} knows it.")


def _about(view: Shown) -> Iterator[str]:
    model, first = view["model"], view["variants"][0]
    source, target = model["source"], first["recipe"]["target"]
    yield from _section("What it is")
    yield from _facts(
        (
            (
                "architecture",
                f"{source['architecture']} ({source['family']})" if source["family"] else source["architecture"],
            ),
            ("task", source["task"]),
            ("context", f"{source['contextLength']} tokens" if source["contextLength"] else ""),
            ("precisions", ", ".join(model["precisions"])),
            ("runs on", f"{target['device']}, {target['execution_provider']}"),
            ("template", first["template"]["origin"]),
            ("labels", ", ".join(f"{key}={value}" for key, value in sorted(model["labels"].items()))),
        )
    )
    parts = [("source", source), *([("adapter", model["adapter"])] if model["adapter"] else [])]
    for name, part in parts:
        yield from _section(f"Where from: {name}")
        yield from _facts(_origin(part))
    yield from _section("Licence")
    yield from _facts((name, _license(part)) for name, part in parts)
    yield ""
    yield "As the model cards declare it; nobody has checked whether that is so."
    yield from _policies(model["policies"])


def _origin(part: Shown) -> tuple[Row, ...]:
    return (
        ("name", part["name"]),
        ("repository", part["repository"] or "a folder"),
        ("revision", part["revision"] or ""),
        ("digest", part["digest"]),
        ("files", f"{part['files']}, {size_text(part['sizeBytes'])}"),
        ("made from", ", ".join(part["baseModels"][:MOST_NAMED])),
        ("data sets", ", ".join(part["datasets"][:MOST_NAMED])),
    )


def _license(part: Shown) -> str:
    names = ", ".join(part["licenseNames"])
    found = part["license"] or (f"{names} (no SPDX expression)" if names else "not known")
    return f"{found}, {part['licenseLink']}" if part["licenseLink"] else found


def _policies(results: list[Shown]) -> Iterator[str]:
    yield from _section("Policies")
    if not results:
        yield "No policy is about it."
        return
    yield "| policy | rule | | |\n|---|---|---|---|"
    for one in results:
        place = f"{one['policy']} ({one['policyFile']}:{one['policyLine']})"
        rule = f"{one['rule']} {one['precision']}".strip()
        yield markdown_row((place, rule, one["result"], one["message"]))


def _variant(one: Shown) -> Iterator[str]:
    recipe, served = one["recipe"], one["served"]
    yield from _section(one["variant"])
    yield from _facts(
        (
            ("served", _served(served)),
            ("release", one["release"]),
            ("artifact", one["artifact"] or "not built here"),
            ("built by", built_by(one["origin"]) if one["artifact"] else ""),
            ("came", (one["origin"] or {}).get("since", "")),
            ("build key", one["buildKey"]),
            ("context here", one["longestPrompt"] or ""),
            ("served as it is" if not recipe["tools"] else "converted to", _precision(recipe)),
            ("with", ", ".join(f"{name} {version}" for name, version in sorted(recipe["tools"].items()))),
        )
    )
    yield ""
    yield from _gates(one["gates"]["verdicts"])
    if one["gates"]["outdated"]:
        yield "\nMeasured with another runtime than is installed: those numbers do not count."


def _served(served: Shown) -> str:
    if not served["id"]:
        return f"no ({served['reason']}: {served['message']})"
    since = f" since {served['since']}" if served["since"] else ""
    meanwhile = "" if served["current"] else f"; not what is declared ({served['reason']}: {served['message']})"
    return f"{served['id']}{since}{meanwhile}"


def _precision(recipe: Shown) -> str:
    options = ", ".join(f"{name} {_value(value)}" for name, value in sorted(recipe["options"].items()))
    return f"{recipe['precision']} ({options})" if options else str(recipe["precision"])


def _gates(verdicts: list[Shown]) -> Iterator[str]:
    """Each number beside its bar."""
    if not verdicts:
        yield "No gate is judged."
        return
    yield "| gate | | number | bar | | measured |\n|---|---|---|---|---|---|"
    for one in verdicts:
        numbers = ("" if one[name] is None else shown_number(one[name]) for name in ("number", "bar"))
        yield markdown_row((one["gate"], one["measure"], *numbers, verdict_sign(one), one["measured"] or ""))


def _open(view: Shown) -> Iterator[str]:
    """What a reader might miss, and why it is not there."""
    model = view["model"]
    parts = [one for one in (model["source"], model["adapter"]) if one]
    missing = [f"{part['name']}: {text}" for part in parts for text in part["missing"]] + model["missing"]
    if missing:
        yield from _section("Not known here")
        yield from (f"- {for_markdown(one)}" for one in missing)


def _section(title: str) -> Iterator[str]:
    yield ""
    yield f"## {for_markdown(title)}"
    yield ""


def _facts(rows: Iterable[Row]) -> Iterator[str]:
    """A table of what has a value."""
    yield "| | |\n|---|---|"
    yield from (markdown_row(row) for row in rows if row[1])


def _value(held: object) -> str:
    return str(held).lower() if isinstance(held, bool) else str(held)
