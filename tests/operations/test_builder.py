"""What several builders do at once, and what one leaves that dies: with a real registry's protocol, and stand-ins for
what converts and what serves."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.backends.foundry.problems import translate
from reconciler.domain.errors import ConversionFailed, TemporaryError
from reconciler.domain.machine.facts import Traits
from reconciler.domain.machine.registries import PUSH, RegistrySettings, read_address
from reconciler.domain.release import Recipe
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Reporter
from reconciler.operations import build_claims
from reconciler.operations.build import BuildResult, Shard, build
from reconciler.registry import claims
from reconciler.sources.manifests import load
from tests.backends.test_served_files import edited
from tests.crash.stand_ins import TREE, StandInConverter, StandInFoundry, make_runtime, options
from tests.machine import TestMachine
from tests.registry.places import REPOSITORY
from tests.registry_server import FakeRegistry, Fault, _Handler
from tests.waiting import until

MODELS = ("a", "b", "c")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry(has_referrers=True).running() as one:
        yield one


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_claims, "POLL", 0.2)
    monkeypatch.setattr(claims, "SETTLING", 0.05)


class Counting(StandInConverter):
    """`meanwhile` runs in each conversion, with the build key."""

    def __init__(self, converted: list[str], meanwhile: Callable[[str], object]) -> None:
        super().__init__()
        self._converted, self._meanwhile = converted, meanwhile

    def convert(self, recipe: Recipe, source: str, output_dir: str, **more: Any) -> Any:
        self._converted.append(recipe.build_key)
        self._meanwhile(recipe.build_key)
        return super().convert(recipe, source, output_dir, **more)


class Builder:
    def __init__(self, folder: Path, capitals: Path, fake: FakeRegistry) -> None:
        self.machine, self._fake = TestMachine(folder=folder), fake
        self.converted: list[str] = []
        self.said: list[str] = []
        self.machine.give_model(capitals)
        for name in MODELS:  # each another source, so another build key
            self.machine.give_model(capitals, f"model-{name}")
            (self.machine.folder / "fleet" / f"model-{name}" / "special_tokens_map.json").write_text(
                f'{{"x": "{name}"}}'
            )
            self.machine.declare(name, source=f"../model-{name}")

    def run(
        self,
        meanwhile: Callable[[str], object] = lambda key: None,
        runtime: Any = make_runtime,
        reporter: Reporter = Reporter(),  # noqa: B008 - it keeps nothing
        **more: Any,
    ) -> BuildResult:
        address = read_address(f"{self._fake.origin}/{REPOSITORY}")
        assert address is not None
        traits = Traits(name=self.machine.folder.name, registries=(RegistrySettings(address=address, role=PUSH),))
        chosen = replace(options(), make_converter=lambda: Counting(self.converted, meanwhile), make_runtime=runtime)
        with locked_machine(str(self.machine.root), str(self.machine.cache), command="test", traits=traits) as opened:
            parsed = load(str(self.machine.manifests))
            return build(opened, parsed, reporter, chosen, Shard(), self.said.append, **more)


@pytest.fixture
def two(fake: FakeRegistry, capitals: Path, tmp_path: Path) -> tuple[Builder, Builder]:
    one, other = (tmp_path / name for name in ("one", "other"))
    return Builder(one, capitals, fake), Builder(other, capitals, fake)


def built(fake: FakeRegistry) -> set[str]:
    return {tag[6:] for tag in fake.held(REPOSITORY).tags if tag.startswith("build-")}


def statuses(result: BuildResult) -> list[str]:
    return [one.status for one in result.builds]


def test_each_is_pushed_as_soon_as_it_is_ready(two: tuple[Builder, Builder], fake: FakeRegistry) -> None:
    """A conversion does not end before all but the one before it are pushed."""
    one, _ = two
    result = one.run(lambda key: until(lambda: len(built(fake)) >= len(one.converted) - 2))
    assert statuses(result) == ["pushed"] * 3


class Watching(Reporter):
    def __init__(self) -> None:
        self.moved: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def moving(self, what: str) -> Iterator[Callable[[int, int], None]]:
        steps = self.moved[what] = []
        yield lambda done, total: steps.append((done, total))


def test_a_push_tells_how_far_it_is(two: tuple[Builder, Builder], fake: FakeRegistry) -> None:
    watching = Watching()
    two[0].run(reporter=watching)
    host = fake.origin.partition("://")[2]
    assert watching.moved.keys() == {f"push {name}-int4 to {host}" for name in MODELS}
    for steps in watching.moved.values():
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1] > 0


def test_one_that_dies_keeps_what_it_has_done(two: tuple[Builder, Builder], fake: FakeRegistry) -> None:
    one, other = two

    def fails_at_last(key: str) -> None:
        if len(one.converted) == 3:
            until(lambda: len(built(fake)) == 2)
            raise TemporaryError("its power is cut")

    assert sorted(statuses(one.run(fails_at_last))) == ["failed", "pushed", "pushed"]
    assert len(built(fake)) == 2
    assert sorted(statuses(one.run())) == ["pushed", "there", "there"]
    assert len(one.converted) == 4
    assert statuses(other.run()) == ["there"] * 3
    assert other.converted == []


def test_two_at_once_work_once(
    two: tuple[Builder, Builder], fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SETTLING", 1.0)  # a busy machine writes its claim late
    results: list[BuildResult] = []
    threads = [threading.Thread(target=lambda one=one: results.append(one.run())) for one in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    converted = [key for one in two for key in one.converted]
    assert len(converted) == len(set(converted)) == 3
    assert [result.complete for result in results] == [True, True]
    assert sorted(status for result in results for status in statuses(result)) == ["pushed"] * 3 + ["there"] * 3


def test_one_waits_for_another_and_takes_over_from_the_dead(
    two: tuple[Builder, Builder], fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed builder gives nothing back: its claims run out."""
    one, other = two
    with monkeypatch.context() as dying:
        dying.setitem(claims.Claims.__init__.__kwdefaults__, "lease", 3.0)
        dying.setattr(claims.Claims, "release", lambda self, key: None)

        def fails(key: str) -> None:
            raise ConversionFailed("out of memory")

        assert set(statuses(other.run(fails))) == {"failed"}
    assert statuses(one.run()) == ["pushed"] * 3
    assert any("other-" in line and "this waits for it" in line for line in one.said)


def test_claims_may_be_ignored(two: tuple[Builder, Builder], fake: FakeRegistry) -> None:
    one, other = two
    inner: list[BuildResult] = []

    def meanwhile(key: str) -> None:
        if not inner:
            inner.append(other.run(ignore_claims=True))

    assert one.run(meanwhile).complete
    assert inner[0].complete
    assert len(other.converted) == 3
    assert len(built(fake)) == 3


def test_a_registry_that_takes_no_claim_is_pushed_to(two: tuple[Builder, Builder], fake: FakeRegistry) -> None:
    def refuses(handler: _Handler) -> bool:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.refuse(400, "TAG_IMMUTABLE")
        return True

    fake.faults.append(Fault(method="PUT", path="/manifests/claim-", act=refuses, times=100))
    one, _ = two
    assert statuses(one.run()) == ["pushed"] * 3
    assert [line for line in one.said if "without claims" in line]


class Refusing(StandInFoundry):
    """It lacks what a model for the CPU wants, or says so."""

    def _load(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        raise translate("RuntimeError", "it requires X which is not registered. Call DownloadAndRegisterEps() first.")

    _ask = _load


def test_what_does_not_load_is_not_pushed(two: tuple[Builder, Builder], fake: FakeRegistry) -> None:
    """But for what lacks its provider: tests/e2e/test_gpu_target.py."""
    one, _ = two
    result = one.run(runtime=lambda cache, scratch, log: Refusing(cache, scratch=scratch, log=log))
    assert [("requires X" in one.message, one.status) for one in result.builds] == [(True, "failed")] * 3
    assert built(fake) == set()


WEBGPU = "WebGpuExecutionProvider"
OPTIONS = {"model.decoder.session_options.provider_options": [{"webgpu": {}}]}


def test_what_was_neither_compared_nor_loaded_is_not_pushed(
    two: tuple[Builder, Builder], fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of it then: where a manifest skips the comparison, as for a ready model without an original."""
    one, _ = two
    monkeypatch.setitem(TREE, "genai_config.json", edited(OPTIONS))
    target, skipped = f"  target: {{executionProvider: {WEBGPU}}}\n", "  gates: [{fidelity: {skip: it takes long}}]\n"
    for name, more in (("a", target), ("b", target + skipped)):
        one.machine.declare(name, source=f"../model-{name}", more=more)
    (one.machine.manifests / "c.yaml").unlink()
    result = one.run(runtime=lambda cache, scratch, log: Refusing(cache, scratch=scratch, log=log))
    said = {built.variant: (built.status, built.message) for built in result.builds}
    assert said["a-int4"][0] == "pushed", said
    assert f"not loaded here, where {WEBGPU} is missing" in said["a-int4"][1]
    assert said["b-int4"][0] == "failed"
    assert said["b-int4"][1].startswith(f"neither compared with its source nor loaded: this machine lacks {WEBGPU}")
    assert len(built(fake)) == 1
