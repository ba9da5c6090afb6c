"""From declared gates to a GateSpec: each gate once, golden prompts read from their file, bars that can be met."""

import json
import posixpath
from typing import Any

from reconciler.domain import digest
from reconciler.domain.errors import Problem
from reconciler.domain.gate_spec import Gate, GateSpec
from reconciler.domain.text.quoting import shown
from reconciler.gates.golden import CHECKS, GoldenPrompt
from reconciler.gates.prompts import PromptsGate
from reconciler.manifests.declaration import Declaration, ProblemLog
from reconciler.manifests.described import value_of
from reconciler.manifests.gate_schema import DECLARED, MOST_CASES, GoldenCase, PromptsManifest
from reconciler.manifests.loader import Document, Path
from reconciler.manifests.paths import ParseContext, PathRefused, locate
from reconciler.manifests.problems import MAX_PROBLEMS, accepted
from reconciler.manifests.schema import ModelManifest

GATES = ("spec", "gates")


def gates_of(declaration: Declaration[ModelManifest], context: ParseContext, findings: ProblemLog) -> GateSpec | None:
    """None when something is wrong with them, and then `findings` says what. Files are judged also where the document
    has been refused for something else."""
    before = len(findings.problems)
    _check_kinds(declaration, findings)
    cases = _cases_of_files(declaration, context, findings)
    written = declaration.manifest.spec.gates if declaration.manifest else None
    if written is None or len(findings.problems) > before:
        return GateSpec() if len(findings.problems) == before else None
    made = [_gate(item, cases.get(index)) for index, item in enumerate(written)]
    for index, gate in enumerate(made):
        _check_min_pass(declaration, index, gate, findings)
    return GateSpec.of(*made) if len(findings.problems) == before else None


def _check_kinds(declaration: Declaration[ModelManifest], findings: ProblemLog) -> None:
    seen: set[str] = set()
    for index in range(len(declaration.texts(*GATES))):
        for kind in declaration.keys(*GATES, index):
            if kind in seen:
                path = (*GATES, index, kind)
                message = f"expected each gate once, got {shown(kind)} again"
                findings.add(declaration.problem(path, "InvalidValue", message))
            seen.add(kind)


def _check_min_pass(declaration: Declaration[ModelManifest], index: int, gate: Gate, findings: ProblemLog) -> None:
    """A bar that can never be met would hold every release back without a reason."""
    if isinstance(gate, PromptsGate) and gate.min_pass > len(gate.cases):
        message = f"expected at most {len(gate.cases)}, the number of golden prompts, got {gate.min_pass}"
        path = (*GATES, index, "prompts", "minPass")
        findings.add(declaration.problem(path, "GateUnreachable", message))


def _gate(item: Any, from_file: tuple[GoldenPrompt, ...] | None) -> Gate:
    name = next(name for name in DECLARED if getattr(item, name) is not None)
    written = getattr(item, name)
    if isinstance(written, PromptsManifest):
        return _prompts(written, from_file)
    return value_of(DECLARED[name], written)


def _prompts(gate: PromptsManifest, from_file: tuple[GoldenPrompt, ...] | None) -> PromptsGate:
    cases = tuple(map(_golden, gate.cases)) if gate.cases is not None else from_file or ()
    return PromptsGate(
        cases=cases, min_pass=gate.min_pass or len(cases), max_tokens=gate.max_tokens, greedy=gate.greedy
    )


def _golden(case: GoldenCase) -> GoldenPrompt:
    asked = [("user", case.prompt or "")]
    if case.messages is not None:
        asked = [(message.role, message.content) for message in case.messages]
    if case.json_schema is not None:
        schema = digest.canonical(case.json_schema).decode()
        return GoldenPrompt(messages=tuple(asked), check="jsonSchema", expected=schema)
    check = next(name for name in CHECKS if getattr(case, name, None) is not None)
    return GoldenPrompt(messages=tuple(asked), check=check, expected=getattr(case, check))


def _cases_of_files(
    declaration: Declaration[ModelManifest], context: ParseContext, findings: ProblemLog
) -> dict[int, tuple[GoldenPrompt, ...]]:
    """By the place of the gate in the list."""
    found = {}
    for index in range(len(declaration.texts(*GATES))):
        path = (*GATES, index, "prompts", "file")
        written = declaration.text(*path)
        if written is not None:
            found[index] = _cases_of_file(written, declaration, path, context, findings)
    return found


def _cases_of_file(
    written: str, declaration: Declaration[ModelManifest], path: Path, context: ParseContext, findings: ProblemLog
) -> tuple[GoldenPrompt, ...]:
    try:
        data = context.read(locate(written, declaration.name, "file", context))
    except PathRefused as refused:
        findings.add(declaration.problem(path, refused.code, str(refused), refused.hint))
        return ()
    if data is None:
        message = f"expected a small plain file, got {shown(written)}"
        hint = f"it may have 256 KiB, as every file beside manifests, and {MOST_CASES} golden prompts"
        findings.add(declaration.problem(path, "Unreadable", message, hint))
        return ()
    file = context.shown(posixpath.join(posixpath.dirname(declaration.name), written))
    return _cases(data, file, findings)


def _cases(data: bytes, file: str, findings: ProblemLog) -> tuple[GoldenPrompt, ...]:
    cases: list[GoldenPrompt] = []
    before = len(findings.problems)
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip() and len(findings.problems) - before < MAX_PROBLEMS:
            for case in _case(line, number, file, findings):
                cases.append(_golden(case))
    if not 1 <= len(cases) <= MOST_CASES and len(findings.problems) == before:
        message = f"expected 1 to {MOST_CASES} golden prompts, one a line, got {len(cases)}"
        findings.add(Problem(code="GoldenPrompts", file=file, message=message))
    return tuple(cases)


def _case(line: bytes, number: int, file: str, findings: ProblemLog) -> tuple[GoldenCase, ...]:
    try:
        said = json.loads(line, parse_constant=_no_constant)
        digest.canonical(said)  # half a surrogate pair or an endless number could be written nowhere
    except (ValueError, RecursionError):
        message = "expected one JSON object a line, got something else"
        findings.add(Problem(code="GoldenPrompts", file=file, line=number, message=message))
        return ()
    document = Document(data=said, lines={(): number}, first_line=number, last_line=number, problems=())
    case = accepted(document, file, GoldenCase)
    if isinstance(case, tuple):
        for problem in case:
            findings.add(problem)
        return ()
    return (case,)


def _no_constant(name: str) -> object:
    raise ValueError(name)
