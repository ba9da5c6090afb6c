"""From declared gates to `bars.Gates`: each kind once, golden prompts read from their file, bars that can be met."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from typing import Any

from reconciler.domain import bars, digest
from reconciler.domain.errors import Problem
from reconciler.domain.quoting import shown
from reconciler.manifests.complaints import MAX_PROBLEMS, accepted
from reconciler.manifests.declaration import Declaration, Findings
from reconciler.manifests.gate_schema import EnduranceBars, Gate, GoldenCase, PerformanceBars, PromptBars
from reconciler.manifests.loader import Document, Path
from reconciler.manifests.paths import PathRefused, Surroundings, locate
from reconciler.manifests.schema import ModelManifest

MOST_CASES = 200
GATES = ("spec", "gates")

_UNITS = {"Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def gates_of(
    declaration: Declaration[ModelManifest], around: Surroundings, findings: Findings
) -> bars.Gates | None:
    """None when something is wrong with them, and then `findings` says what. Files are judged also where the document
    has been refused for something else."""
    before = len(findings.problems)
    _check_kinds(declaration, findings)
    cases = _cases_of_files(declaration, around, findings)
    written = declaration.manifest.spec.gates if declaration.manifest else None
    if written is None or len(findings.problems) > before:
        return bars.Gates() if len(findings.problems) == before else None
    made = {kind: _gate(gate, cases.get(index)) for index, (kind, gate) in enumerate(_by_kind(written))}
    _check_min_pass(declaration, made.get("prompts"), findings)
    return bars.Gates(**made) if len(findings.problems) == before else None


def _by_kind(written: Sequence[Gate]) -> list[tuple[str, Gate]]:
    return [(next(k for k in type(g).model_fields if getattr(g, k) is not None), g) for g in written]


def _check_kinds(declaration: Declaration[ModelManifest], findings: Findings) -> None:
    seen: set[str] = set()
    for index in range(len(declaration.texts(*GATES))):
        for kind in declaration.keys(*GATES, index):
            if kind in seen:
                path = (*GATES, index, kind)
                message = f"expected each gate once, got {shown(kind)} again"
                findings.add(declaration.problem(path, "InvalidValue", message))
            seen.add(kind)


def _check_min_pass(declaration: Declaration[ModelManifest], gate: object, findings: Findings) -> None:
    """A bar that can never be met would hold every release back, with no word about why."""
    if isinstance(gate, bars.PromptsGate) and gate.min_pass > len(gate.cases):
        index = next(i for i in range(MOST_CASES) if "prompts" in declaration.keys(*GATES, i))
        message = f"expected at most {len(gate.cases)}, the number of golden prompts, got {gate.min_pass}"
        path = (*GATES, index, "prompts", "minPass")
        findings.add(declaration.problem(path, "GateUnreachable", message))


def _gate(gate: Gate, from_file: tuple[bars.GoldenPrompt, ...] | None) -> Any:
    if gate.prompts is not None:
        return _prompts(gate.prompts, from_file)
    if gate.performance is not None:
        return _performance(gate.performance)
    if gate.endurance is not None:
        return _endurance(gate.endurance)
    if gate.load is not None:
        return bars.LoadGate(max_memory=_bytes(gate.load.max_memory))
    assert gate.fidelity is not None
    return bars.FidelityGate(**gate.fidelity.model_dump(exclude_none=True))


def _prompts(gate: PromptBars, from_file: tuple[bars.GoldenPrompt, ...] | None) -> bars.PromptsGate:
    cases = tuple(map(_golden, gate.cases)) if gate.cases is not None else from_file or ()
    return bars.PromptsGate(
        cases=cases,
        min_pass=gate.min_pass or len(cases),
        max_tokens=gate.max_tokens,
        greedy=gate.greedy,
    )


def _golden(case: GoldenCase) -> bars.GoldenPrompt:
    asked = [("user", case.prompt or "")]
    if case.messages is not None:
        asked = [(message.role, message.content) for message in case.messages]
    if case.json_schema is not None:
        return bars.GoldenPrompt(
            messages=tuple(asked), check="jsonSchema", expected=digest.canonical(case.json_schema).decode()
        )
    check = next(name for name in ("exact", "contains", "regex") if getattr(case, name) is not None)
    return bars.GoldenPrompt(messages=tuple(asked), check=check, expected=getattr(case, check))


def _performance(gate: PerformanceBars) -> bars.PerformanceGate:
    return bars.PerformanceGate(
        prompt_lengths=tuple(dict.fromkeys(gate.prompt_lengths)),
        max_time_to_first_token=_seconds(gate.max_time_to_first_token),
        min_tokens_per_second=gate.min_tokens_per_second,
        max_peak_memory=_bytes(gate.max_peak_memory),
        on_fail=gate.on_fail,
    )


def _endurance(gate: EnduranceBars) -> bars.EnduranceGate:
    usual = bars.EnduranceGate()
    return bars.EnduranceGate(
        requests=gate.requests,
        max_memory_growth=_bytes(gate.max_memory_growth) or usual.max_memory_growth,
        max_latency_drift=gate.max_latency_drift or usual.max_latency_drift,
        bad_input=gate.bad_input,
    )


def _bytes(text: str | None) -> int | None:
    return int(text[:-2]) * _UNITS[text[-2:]] if text else None


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    unit = next(unit for unit in _SECONDS if text.endswith(unit))
    return float(text.removesuffix(unit)) * _SECONDS[unit]


def _cases_of_files(
    declaration: Declaration[ModelManifest], around: Surroundings, findings: Findings
) -> dict[int, tuple[bars.GoldenPrompt, ...]]:
    """By the place of the gate in the list."""
    found = {}
    for index in range(len(declaration.texts(*GATES))):
        path = (*GATES, index, "prompts", "file")
        written = declaration.text(*path)
        if written is not None:
            found[index] = _cases_of_file(written, declaration, path, around, findings)
    return found


def _cases_of_file(
    written: str,
    declaration: Declaration[ModelManifest],
    path: Path,
    around: Surroundings,
    findings: Findings,
) -> tuple[bars.GoldenPrompt, ...]:
    try:
        data = around.read(locate(written, declaration.name, "file", around))
    except PathRefused as refused:
        findings.add(declaration.problem(path, refused.code, str(refused), refused.hint))
        return ()
    if data is None:
        message = f"expected a small plain file, got {shown(written)}"
        hint = f"it may have 256 KiB, as every file beside manifests, and {MOST_CASES} golden prompts"
        findings.add(declaration.problem(path, "Unreadable", message, hint))
        return ()
    file = around.shown(posixpath.join(posixpath.dirname(declaration.name), written))
    return _cases(data, file, findings)


def _cases(data: bytes, file: str, findings: Findings) -> tuple[bars.GoldenPrompt, ...]:
    cases: list[bars.GoldenPrompt] = []
    before = len(findings.problems)
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip() and len(findings.problems) - before < MAX_PROBLEMS:
            for case in _case(line, number, file, findings):
                cases.append(_golden(case))
    if not 1 <= len(cases) <= MOST_CASES and len(findings.problems) == before:
        message = f"expected 1 to {MOST_CASES} golden prompts, one a line, got {len(cases)}"
        findings.add(Problem(code="GoldenPrompts", file=file, message=message))
    return tuple(cases)


def _case(line: bytes, number: int, file: str, findings: Findings) -> tuple[GoldenCase, ...]:
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
