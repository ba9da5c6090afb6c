"""Gates that are written wrongly, and candidates that can never pass them: one clear line with a stable code, tried
once, remembered, told once; and what is beside them is served. In the real runtime, with weights converted once."""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.backends.foundry.foundry import Foundry
from reconciler.domain.reference import Comparison
from reconciler.domain.release import Recipe
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.host.child import Child
from reconciler.host.environment import private_environment
from reconciler.sources.manifests import load
from tests.bad_inputs.hanging_worker import HANGS, PIDS
from tests.converted_model import converted_model
from tests.crash.stand_ins import StandInConverter
from tests.machine import TestMachine
from tests.tiny_models import CHATML
from tests.waiting import is_alive, until

ONE = "cases: [{prompt: q, exact: a}]"
WRITTEN: dict[str, tuple[str, str]] = {
    "a gate file that is missing": ("prompts: {file: none.jsonl}", "PathMissing"),
    "a gate file above the repository": ("prompts: {file: ../../../x.jsonl}", "PathOutside"),
    "a gate file that is a folder": ("prompts: {file: .}", "PathKind"),
    "an invalid pattern": ("prompts: {cases: [{prompt: q, regex: '('}]}", "PatternRefused"),
    "a pattern of another dialect": ("prompts: {cases: [{prompt: q, regex: 'a(?=b)'}]}", "PatternRefused"),
    "an invalid schema": ("prompts: {cases: [{prompt: q, jsonSchema: {type: thing}}]}", "SchemaRefused"),
    "no gates, on purpose": ("", "GatesEmpty"),
    "no golden prompts, on purpose": ("prompts: {cases: []}", "InvalidValue"),
    "more right answers than questions": (f"prompts: {{{ONE}, minPass: 2}}", "GateUnreachable"),
    "the same gate twice": ("load: {}, load: {}", "InvalidValue"),
    "a gate that nobody knows": ("quality: {}", "UnknownField"),
    "more tokens than an answer may have": (f"prompts: {{{ONE}, maxTokens: 99999999999}}", "InvalidValue"),
    "a bar that is no number": ("fidelity: {maxMeanKL: .nan}", "InvalidValue"),
    "a bar without end": ("performance: {minTokensPerSecond: .inf}", "InvalidValue"),
    "a file with a line that is none": ("prompts: {file: bad.jsonl}", "GoldenPrompts"),
    "a file of ten thousand lines": ("prompts: {file: large.jsonl}", "Unreadable"),
    "a file of a thousand short lines": ("prompts: {file: long.jsonl}", "GoldenPrompts"),
}  # fmt: skip


def test_what_is_written_wrongly_is_one_problem_each(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    for number, (gates, _) in enumerate(WRITTEN.values()):
        machine.declare(f"m{number}", more=f"  gates: [{gates}]\n")
    machine.declare("good", more="  gates: [load: {maxMemory: 8Gi}]\n")
    line = json.dumps({"prompt": "q", "exact": "a"}) + "\n"
    (machine.manifests / "bad.jsonl").write_text(line + "Paris\n")
    (machine.manifests / "large.jsonl").write_text(line * 10_000)
    (machine.manifests / "long.jsonl").write_text(line * 1_000)
    done = machine.run("validate", "-o", "json")
    assert done.code == 1
    found: dict[str, list[str]] = {}
    for problem in done.json()["problems"]:
        assert "Traceback" not in problem["message"]
        found.setdefault(Path(problem["file"]).stem, []).append(problem["code"])
    names = {"bad": "m14", "long": "m16"}  # said where the line is
    said = {names.get(name, name): codes for name, codes in found.items()}
    assert said == {f"m{number}": [code] for number, (_, code) in enumerate(WRITTEN.values())}
    assert "Traceback" not in done.err


@dataclass(frozen=True)
class Bad:
    gates: str
    code: str
    said: str
    template: str = CHATML


PASSED = "prompts: {cases: [{prompt: Hello, regex: .}]}"
BAD = {
    "never": Bad("prompts: {cases: [{prompt: Hello, exact: no such answer}]}", "GateFailed", "0 of 1 answered rightly"),
    "endless": Bad(
        f"prompts: {{cases: [{{prompt: {'word ' * 2000}, regex: '.*'}}]}}", "GateFailed", "asked: PromptTooLong"
    ),
    "broken": Bad(PASSED, "TemplateRefused", "'nobody' is not defined", "{{ nobody.knows }}" + CHATML),
    "hangs": Bad(PASSED, "RuntimeHung", "no end of load within 3 s", HANGS + CHATML),
}  # fmt: skip


class RealConversion(StandInConverter):
    """What Olive made of a tiny model, once for all tests."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def convert(self, recipe: Recipe, source: str, output_dir: str, **more: Any) -> None:
        shutil.copytree(self._folder, output_dir)

    def compare(self, recipe: Recipe, *said: Any, **more: Any) -> Comparison:
        """Without a reference: the stand-in's is of another model."""
        return replace(super().compare(recipe, *said, **more), reference=None)


class HangingFoundry(Foundry):
    """The real one, around a worker in which some models hang. Patience is short for those alone, so that a busy
    machine fails no other."""

    def start(self) -> None:
        if self._child is None:
            os.makedirs(self.scratch, exist_ok=True)
            self._child = Child(
                module="tests.bad_inputs.hanging_worker",
                environment=private_environment(self.scratch),
                log=self.log,
                directory=self.scratch,
            )
            parameters = {"cache_dir": self.cache_dir, "scratch": self.scratch}
            with ThreadPoolExecutor(max_workers=1) as opener:
                self._opened = opener.submit(self._child.call, "open", parameters, timeout=60.0)

    def _model_call(self, verb: str, parameters: dict[str, Any], timeout: float, on_text: Any = None) -> Any:
        hangs = str(parameters.get("id", "")).startswith("hangs-")
        return super()._model_call(verb, parameters, 3.0 if hangs else timeout, on_text)


@dataclass(frozen=True)
class Fleet:
    machine: TestMachine
    first: PassResult
    again: Callable[[], PassResult]

    def events(self) -> bytes:
        return (self.machine.root / "records" / "events.jsonl").read_bytes()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> Fleet:
    machine = TestMachine(folder=tmp_path_factory.mktemp("gates"))
    machine.give_model(capitals)
    weights = converted_model(tmp_path_factory)
    for name, bad in {"good": Bad(PASSED, "", ""), **BAD}.items():
        machine.manifests.mkdir(parents=True, exist_ok=True)
        (machine.manifests / f"{name}.jinja").write_text(bad.template)
        declared = f"  gates: [{bad.gates}]\n"
        machine.declare(name, template=f"{{jinja: {name}.jinja}}", more=declared)

    def again() -> PassResult:
        chosen = Options(
            make_converter=lambda: RealConversion(weights),
            make_runtime=lambda cache, scratch, log: HangingFoundry(cache, scratch=scratch, log=log),
        )
        with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
            return run_pass(held, load(str(machine.manifests)), Reporter(), chosen)

    return Fleet(machine, again(), again)


@pytest.mark.parametrize("name", BAD)
def test_what_never_passes_is_tried_once_told_once_and_not_served(fleet: Fleet, name: str) -> None:
    (failed,) = (one for one in fleet.first.failed if one.change.variant == f"{name}-int4")
    assert (failed.change.action, failed.code, failed.permanent) == ("verify", BAD[name].code, True)
    assert BAD[name].said in failed.message
    events = [json.loads(line) for line in fleet.events().splitlines()]
    told = [one for one in events if one["variant"] == f"{name}-int4" and one["type"] == "verify.failed"]
    assert [one["code"] for one in told] == [BAD[name].code]
    (held,) = (one for one in fleet.first.remaining.held if one.variant == f"{name}-int4")
    assert held.reason == ("GateFailed" if BAD[name].code == "GateFailed" else "FailedBefore")
    assert f"{name}-int4:1" not in fleet.machine.index()


def test_what_hung_was_killed(fleet: Fleet) -> None:
    (home,) = fleet.machine.root.rglob(PIDS)
    pids = home.read_text().split()
    assert len(pids) == 1  # and was not tried a second time
    until(lambda: not is_alive(int(pids[0])))


def test_what_is_beside_them_is_served_and_twenty_more_passes_do_nothing(fleet: Fleet) -> None:
    assert set(fleet.machine.index()) == {"good-int4:1"}
    before = fleet.events()
    for _ in range(20):
        result = fleet.again()
        assert (result.outcomes, result.plan.changes, result.running) == ((), (), ())
        assert {one.variant for one in result.remaining.held} == {f"{name}-int4" for name in BAD}
    assert fleet.events() == before


@pytest.mark.parametrize("name", ["never", "broken"])
def test_when_its_input_changes_it_is_tried_again(fleet: Fleet, name: str) -> None:
    if name == "never":
        fleet.machine.declare(name, template="{jinja: never.jinja}", more=f"  gates: [{PASSED}]\n")
    else:
        (fleet.machine.manifests / "broken.jinja").write_text(CHATML)
    fleet.again()
    assert f"{name}-int4:1" in fleet.machine.index()
