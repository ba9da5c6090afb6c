"""docs/reference.md is generated from the program: help texts, exit codes, reasons. UPDATE_GOLDEN=1 writes it."""

import os
import sys
from importlib import import_module
from pathlib import Path

import pytest

from reconciler.cli.exit_codes import CODES
from reconciler.cli.main import VERBS, build_parser, overview
from reconciler.conversion.verified import SEEN_WRONG, VERIFIED
from reconciler.domain.errors import UsageError
from reconciler.domain.finding import FINDINGS
from reconciler.domain.reasons import Reason

REFERENCE = Path(__file__).parent.parent.parent / "docs" / "reference.md"


def _help(verb: str) -> str:
    return build_parser(verb).format_help()


def _reference() -> str:
    parts = ["# Reference", "", "Generated from the program (`UPDATE_GOLDEN=1 make test` writes it).", ""]
    parts += ["## Overview", "", "```", overview().rstrip(), "```", ""]
    for verb in VERBS:
        parts += [f"## reconciler {verb}", "", "```", _help(verb).rstrip(), "```", ""]
    parts += ["## Reasons", "", "| reason | meaning |", "|---|---|"]
    parts += [f"| {reason} | {reason.text} |" for reason in Reason]
    parts += ["", "## Findings of verify", "", "| code | meaning |", "|---|---|"]
    parts += [f"| {code} | {meaning} |" for code, meaning in FINDINGS.items()]
    return "\n".join(parts) + "\n"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse words its help differently there")
def test_the_reference_is_what_the_program_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = _reference()
    if os.environ.get("UPDATE_GOLDEN"):
        REFERENCE.write_text(text)
    assert text == REFERENCE.read_text(), "docs/reference.md is out of date: UPDATE_GOLDEN=1 make test"


def test_every_verb_has_exit_codes_and_a_module() -> None:
    assert CODES.keys() == VERBS.keys()
    for verb in VERBS:
        module = import_module(f"reconciler.cli.verbs.{verb}")
        assert callable(module.add_arguments)
        assert callable(module.run)


def test_every_reason_is_explained() -> None:
    """What is changed or held back has a `Reason` by its type."""
    assert all(reason.text for reason in Reason)


def test_a_parser_never_abbreviates() -> None:
    with pytest.raises(UsageError, match="unrecognized arguments"):
        build_parser("plan").parse_args(["--conf"])


def _architectures() -> str:
    lines = [
        "# Architectures",
        "",
        "Generated from `reconciler/conversion/verified.py`; `tests/conversion/test_parity.py` measures them again.",
        "A model that is not in the first table, or uses a setting that is not listed with it, is refused by",
        "`validate` and `plan` with the reason: the converter would often go through and be silently wrong.",
        "",
        "## Converted rightly with the pinned tools",
        "",
        "| architecture | precisions | rotations | partial rotation | sliding window |",
        "|---|---|---|---|---|",
    ]
    for name, one in sorted(VERIFIED.items()):
        facts = (
            ", ".join(sorted(one.precisions)),
            ", ".join(sorted(one.rope_types)),
            "yes" if one.partial_rotation else "no",
            "yes" if one.sliding_window else "no",
        )
        lines.append(f"| {name} | {' | '.join(facts)} |")
    lines += [
        "",
        "Phi-3's `longrope` is right where its rotation changes after 4,096 tokens, as in the published models: there",
        "the runtime computes anew what its cache holds. Where it changes elsewhere, what follows is wrong.",
    ]
    lines += ["", "## Seen to come out wrong, and refused", "", "| architecture | what was measured |", "|---|---|"]
    lines += [f"| {name} | {reason} |" for name, reason in sorted(SEEN_WRONG.items())]
    return "\n".join(lines) + "\n"


def test_the_page_of_architectures_is_what_the_program_knows() -> None:
    page = REFERENCE.parent / "architectures.md"
    if os.environ.get("UPDATE_GOLDEN"):
        page.write_text(_architectures())
    assert page.read_text() == _architectures(), "docs/architectures.md is out of date: UPDATE_GOLDEN=1 make test"
