"""A mistake in our own code, met by one document or folder: that one is a problem in words, and all others go on."""

from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.errors import BUG
from reconciler.domain.manifest import Model
from reconciler.engine import model_against_source
from reconciler.engine.planning import take_snapshot
from reconciler.manifests import model_rules
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.schema import ModelManifest
from reconciler.sources.folder.guarded_folder import FolderProblems
from reconciler.sources.manifests import load
from tests.at_rest import opened, serve
from tests.machine import TestMachine


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


def test_in_reading_a_file_of_a_folder() -> None:
    problems = FolderProblems("/models/phi")
    assert problems.attempt("config.json", fail) is None
    (problem,) = problems.problems
    assert (problem.code, problem.file) == (BUG, "phi/config.json")
