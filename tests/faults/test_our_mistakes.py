"""A mistake in our own code, met by one document or folder: that one is a problem in words, and all others go on. What
is raised on purpose for a caller further up is no mistake, and passes."""

import builtins
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import reconciler
from reconciler.domain.errors import BUG, InputRefused, TemporaryError, unless_we_fail
from reconciler.domain.manifest import Model
from reconciler.engine import model_against_source
from reconciler.engine.planning import take_snapshot
from reconciler.manifests import dependency_rules, loader, model_rules, parse, policy_rules, problems
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.documents import reading
from reconciler.manifests.problems import MAX_PROBLEMS
from reconciler.manifests.rollouts import rules as rollout_rules
from reconciler.manifests.schema import ModelManifest
from reconciler.sources.folder.guarded_folder import FolderProblems
from reconciler.sources.git.objects import MirrorBroken
from reconciler.sources.git.runner import GitFailed
from reconciler.sources.manifests import load
from tests.at_rest import opened, serve
from tests.machine import TestMachine
from tests.manifests.test_parse import manifest, model, parsed


@pytest.fixture
def two(tmp_path: Path, capitals: Path) -> TestMachine:
    """Both are served."""
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare("bad")
    machine.declare("good")
    serve(machine)
    return machine


def fail() -> None:
    {}["nobody thought of this"]


def test_in_reading_a_manifest(two: TestMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = model_rules.gates_of

    def gates_of(declaration: Declaration[ModelManifest], *more: Any) -> object:
        if declaration.text("metadata", "name") == "bad":
            fail()
        return usual(declaration, *more)

    monkeypatch.setattr(model_rules, "gates_of", gates_of)
    parsed = load(str(two.manifests))
    assert [one.name for one in parsed.models] == ["good"]
    assert parsed.broken == {"bad"}
    (problem,) = parsed.problems
    assert (problem.code, problem.field, problem.line) == (BUG, "metadata.name", 4)
    assert "unexpected KeyError: 'nobody thought of this', at reconciler.manifests.model_rules:" in problem.message
    assert take_snapshot(opened(two), parsed).plan.changes == ()


def test_in_looking_at_a_source(two: TestMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = model_against_source.too_long

    def too_long(model: Model, source: object) -> object:
        if model.name == "bad":
            fail()
        return usual(model, source)  # type: ignore[arg-type]

    monkeypatch.setattr(model_against_source, "too_long", too_long)
    (two.served("good-int4") / "tokenizer.json").unlink()
    (two.served("bad-int4") / "tokenizer.json").unlink()
    found = take_snapshot(opened(two), load(str(two.manifests)))
    assert [one.variant for one in found.plan.changes] == ["good-int4"]
    assert [one.code for one in found.resolution.problems] == [BUG]
    assert found.resolution.desired.unresolved["bad-int4"].code == BUG
    monkeypatch.setattr(model_against_source, "too_long", raising(MirrorBroken("an object is missing")))
    with pytest.raises(MirrorBroken):
        take_snapshot(opened(two), load(str(two.manifests)))


# A function that fails once, and one more document that it fails at.
FAILING: dict[str, tuple[ModuleType, str, str]] = {
    "the text of a file": (loader, "load", model("other")),
    "whose a document is": (reading, "is_foreign", model("other")),
    "the hint at a field": (problems, "_mapping_hint", model("other", source='""')),
    "the schema of a Policy": (reading, "accepted", manifest("Policy", "other", "licenses: {deny: [MIT]}")),
    "the schema of a Rollout": (reading, "accepted", manifest("Rollout", "other", "models: [fine]")),
    "a Policy": (policy_rules, "rules_of", manifest("Policy", "other", "licenses: {deny: [MIT]}")),
    "a Rollout": (
        rollout_rules,
        "_check_rings",
        manifest("Rollout", "other", "models: [fine]", "rings: [{name: all}]"),
    ),
    "a Rollout beside others": (
        rollout_rules,
        "_alone",
        manifest("Rollout", "other", "models: [fine]", "rings: [{name: all}]"),
    ),
    "a PruneConfirmation": (parse, "_confirmed_by", manifest("PruneConfirmation", "other", "models: [gone]")),
    "what a model depends on": (dependency_rules, "_misnames", model("other", "dependsOn: [fine]")),
    "a circle of dependencies": (dependency_rules, "_circle", model("other", "dependsOn: [other]")),
    "precisions": (parse, "precisions_named", model("other")),
}


@pytest.mark.parametrize("case", FAILING)
def test_in_judging_a_document(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, text = FAILING[case]
    usual, left = getattr(module, name), [fail]
    monkeypatch.setattr(module, name, lambda *given, **named: left.pop()() if left else usual(*given, **named))
    found = parsed({"0.yaml": f"{text}---\n{model('beside')}", "1.yaml": model("fine")})
    assert ([(one.code, one.file) for one in found.problems], found.failed) == ([(BUG, "manifests/0.yaml")], True)
    assert [one.name for one in found.models] == ["fine"] if module is loader else ["beside", "fine"]
    left = ["Policy" for one in found.policies if one.broken] + ["Rollout" for one in found.rollouts if one.broken]
    assert left == [kind for kind in ("Policy", "Rollout") if kind in case]
    assert (len(found.policies), found.confirmed) == (left.count("Policy"), ())


def test_behind_more_problems_than_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "---\n".join(["kind: Modle\n"] * MAX_PROBLEMS + [model("other")])
    assert not parsed({"0.yaml": text}).failed
    monkeypatch.setattr(parse, "model_of", raising(KeyError("nobody thought of this")))
    found = parsed({"0.yaml": text})
    assert (found.failed, BUG in {one.code for one in found.problems}) == (True, False)


def test_in_reading_a_file_of_a_folder() -> None:
    problems = FolderProblems("/models/phi")
    assert problems.attempt("config.json", fail) is None
    assert problems.attempt("config.json", raising(OSError(5, "Input/output error"))) is None
    assert problems.attempt("config.json", raising(InputRefused("JsonInvalid", "not valid JSON"))) is None
    assert [one.code for one in problems.problems] == [BUG, "FileUnreadable", "JsonInvalid"]
    assert {one.file for one in problems.problems} == {"phi/config.json"}
    with pytest.raises(MirrorBroken):
        problems.attempt("config.json", raising(MirrorBroken("an object is missing")))


def raising(error: Exception) -> Callable[..., None]:
    def act(*_: object) -> None:
        raise error

    return act


ON_PURPOSE = (TemporaryError("x"), MirrorBroken("x"), GitFailed("fetch", 128, ""), OSError(5, "x"), MemoryError())


@pytest.mark.parametrize("error", ON_PURPOSE, ids=lambda error: type(error).__name__)
def test_what_is_raised_on_purpose_passes(error: Exception) -> None:
    with pytest.raises(type(error)):
        unless_we_fail(raising(error), pytest.fail)


def test_the_words_for_a_mistake_are_one_short_line() -> None:
    told = list[str]()
    unless_we_fail(raising(ValueError("x\n::error::y\x1b[2J\n" * 1000)), told.append)
    (text,) = told
    assert text.startswith("unexpected ValueError: x ::error::y\\x1b[2J x")
    assert len(text) < 400
    assert text.isprintable()


# Exceptions of ours that are caught below every use of `unless_we_fail`. A new one goes here, or has RaisedOnPurpose
# among its bases: else it would be taken for a mistake, and whoever waits for it further up would wait for ever.
CAUGHT_BELOW = """
    BadRequest Damaged InputRefused LockInvalid MarkerUnreadable Misformed NoSecret NotABundle NotAModelSignature
    NotANote NotAStatement NotAnArtifact NotExact NotRendered NotThisBuild Refused RefusedByTemplate Refuses
    TooLong Unproven Unreached
"""
_CLASS = re.compile(r"^ *class (\w+)\(([^)]*)\):", re.MULTILINE)


def test_each_exception_of_ours_passes_or_is_caught_below() -> None:
    bases: dict[str, list[str]] = {}
    for path in Path(reconciler.__file__).parent.rglob("*.py"):
        for name, held in _CLASS.findall(path.read_text(encoding="utf-8")):
            bases[name] = [one.strip().rpartition(".")[2] for one in held.split(",")]

    def above(name: str) -> set[str]:
        return {name}.union(*map(above, bases.get(name, [])))

    builtin = {name for name, one in vars(builtins).items() if isinstance(one, type) and issubclass(one, BaseException)}
    ours = {name: found for name in bases if (found := above(name)) & builtin}
    on_purpose = {name for name, found in ours.items() if "RaisedOnPurpose" in found}
    assert ours.keys() - on_purpose == {*CAUGHT_BELOW.split()}
    assert {"MirrorBroken", "GitFailed", "ReconcilerError", "PermanentError", "ChildTimedOut"} < on_purpose
