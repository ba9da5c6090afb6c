"""Whose builds a machine takes: what a registry offers is verified before a byte of it comes, the numbers too, and what
the store holds keeps to the policy of today."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from reconciler.domain.changes import Cost, Pull
from reconciler.domain.digest import of_bytes
from reconciler.domain.machine.facts import Traits
from reconciler.domain.machine.registries import RegistryAnswers
from reconciler.domain.machine.trust import Origin, Refusal, TrustedKey, TrustMode, TrustPolicy, TrustRule
from reconciler.domain.measured import Fidelity
from reconciler.domain.observed import Observed
from reconciler.domain.reasons import Reason
from reconciler.domain.reference import Comparison
from reconciler.domain.release import Artifact
from reconciler.engine.executor import store_conversion
from reconciler.engine.machine import Machine
from reconciler.engine.pull_job import PullJob
from reconciler.engine.registries import RegistryLookup, builders_numbers
from reconciler.engine.trust import BuildTrust, is_refused, stored_digests
from reconciler.gates.reference import written
from reconciler.registry import bundle, provenance
from reconciler.registry.numbers import push_numbers
from reconciler.registry.signatures import push_signature
from reconciler.registry.signing_keys import SigningKey, read_id
from reconciler.store.artifact_store import ArtifactStore
from tests.at_rest import opened
from tests.engine.test_pull_job import pushed
from tests.engine.test_registries import KEY, NUMBERS, RECIPE, built, machine_at, tree_of
from tests.machine import TestMachine
from tests.planner.world import release
from tests.references import reference_of
from tests.registry.keys import key_pair
from tests.registry.places import REPOSITORY, client_of
from tests.registry.test_signatures import BUILD, NOW
from tests.registry_server import FakeRegistry

LIED = replace(NUMBERS, mean_kl=0.0, top1_agreement=1.0, when="2026-12-01T00:00:00Z")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("builder", "stranger"):
        key_pair(folder, name)
    return folder


@dataclass
class Site:
    """A registry with one artifact, and whoever pushed it."""

    fake: FakeRegistry
    folder: Path
    artifact: Artifact
    keys: Path

    def sign(
        self,
        name: str = "builder",
        fidelity: Fidelity | None = NUMBERS,
        recipe: dict[str, object] = RECIPE,
        reference: str = "",
    ) -> None:
        client = client_of(self.fake.origin)
        manifest = client.manifest(self.artifact.digest)
        key = SigningKey(str(self.keys / f"{name}.key"))
        build = replace(
            BUILD,
            artifact=self.artifact.digest,
            build_key=self.artifact.build_key,
            recipe=recipe,
            fidelity=fidelity,
            reference=reference,
        )
        push_signature(client, manifest, bundle.sign(provenance.written(build), key), NOW, str(self.folder))
        client.session.close()

    def machine(self, mode: TrustMode, *revoked: str, keys: tuple[str, ...] = ("builder",), **more: str) -> Machine:
        edge = machine_at(self.folder / "edge", self.fake.origin, **more)
        rule = TrustRule(
            pattern="127.0.0.1:*/models/*",
            mode=mode,
            keys=tuple(TrustedKey(file=str(self.keys / f"{name}.pub")) for name in keys),
        )
        policy = TrustPolicy(rules=(rule,), revoked=frozenset(revoked))
        return replace(edge, traits=replace(edge.traits, trust=policy))


@pytest.fixture
def site(tmp_path: Path, keys: Path) -> Iterator[Site]:
    with FakeRegistry().running() as fake:
        yield Site(fake, tmp_path, built(tmp_path, fake.origin, LIED), keys)


def asked(machine: Machine) -> tuple[str, RegistryAnswers]:
    """The reason of the refusal or doubt, and all that was answered."""
    answers = RegistryLookup(machine).answers([KEY])
    assert answers.unreached == ""
    return next((str(one.reason) for one in answers.refused.values()), ""), answers


def test_a_signed_build_is_offered_with_who_signed_it(site: Site) -> None:
    site.sign("stranger")
    site.sign()
    reason, answers = asked(site.machine("enforce"))
    assert (reason, answers.offers[KEY].signed_by) == ("", read_id(str(site.keys / "builder.pub")))
    assert not site.fake.asked("GET", site.artifact.files[0].digest)


@pytest.mark.parametrize("signer", ["", "stranger"])
def test_what_nobody_trusted_signed_is_not_offered(site: Site, signer: str) -> None:
    if signer:
        site.sign(signer)
    reason, answers = asked(site.machine("enforce"))
    assert (reason, answers.offers) == ("Untrusted", {})
    message = answers.refused[KEY].message
    assert site.artifact.digest in message
    assert f"127.0.0.1:{site.fake.origin.rpartition(':')[2]}/{REPOSITORY}" in message
    assert str(site.keys / "builder.pub") in message
    reason, answers = asked(site.machine("warn"))
    assert (reason, answers.offers[KEY].signed_by) == ("Untrusted", "")
    assert not answers.refused[KEY].enforced
    site.fake.requests.clear()
    assert asked(site.machine("off"))[0] == ""
    assert not site.fake.asked("GET", "sha256-")


def test_a_key_that_cannot_be_read_is_named(site: Site) -> None:
    site.sign()
    _, answers = asked(site.machine("enforce", keys=("gone",)))
    assert "gone.pub: No such file" in answers.refused[KEY].message
    assert asked(site.machine("enforce", keys=("gone", "builder")))[0] == ""


@pytest.mark.parametrize("mode", ["off", "enforce"])
def test_what_is_revoked_is_not_offered(site: Site, mode: TrustMode) -> None:
    site.sign()
    for revoked in (site.artifact.digest, KEY):
        reason, answers = asked(site.machine(mode, revoked))
        assert (reason, answers.offers) == ("Revoked", {})
    assert asked(site.machine(mode, "sha256:" + "0" * 64))[0] == ""


def test_numbers_are_those_that_were_signed(site: Site) -> None:
    """The registry's own say that nothing was lost."""
    digest = site.artifact.digest
    assert builders_numbers(site.machine("off"), KEY, digest) == Comparison(fidelity=LIED)
    assert builders_numbers(site.machine("enforce"), KEY, digest) is None
    assert builders_numbers(site.machine("warn"), KEY, digest) == Comparison(fidelity=LIED)
    site.sign("stranger", LIED)
    assert builders_numbers(site.machine("enforce"), KEY, digest) is None
    site.sign()
    assert builders_numbers(site.machine("enforce"), KEY, digest) == Comparison(fidelity=NUMBERS)
    assert builders_numbers(site.machine("warn"), KEY, digest) == Comparison(fidelity=NUMBERS)


def test_reference_answers_are_those_that_were_signed(site: Site) -> None:
    """Others hang on the artifact too."""
    client = client_of(site.fake.origin)
    manifest, honest, other = client.manifest(site.artifact.digest), reference_of(KEY), reference_of(KEY)
    other = replace(other, places=other.places[:1])
    for when, one in (("2026-01-02", other), ("2026-01-03", honest), ("2026-01-04", other)):
        said = Comparison(fidelity=replace(LIED, when=f"{when}T00:00:00Z"), reference=one)
        push_numbers(client, manifest, said, str(site.folder))
    client.session.close()
    digest = site.artifact.digest
    site.sign(reference=of_bytes(written(honest)))
    assert builders_numbers(site.machine("enforce"), KEY, digest) == Comparison(fidelity=NUMBERS, reference=honest)
    assert builders_numbers(site.machine("off"), KEY, digest).reference != honest


def test_what_was_verified_with_an_offer_is_not_verified_again(site: Site) -> None:
    """A pull signs in once, and asks for what it has not read."""
    reference = reference_of(KEY)
    client = client_of(site.fake.origin)
    said = Comparison(fidelity=LIED, reference=reference)
    push_numbers(client, client.manifest(site.artifact.digest), said, str(site.folder))
    site.sign(reference=of_bytes(written(reference)))
    machine = site.machine("enforce")
    job = PullJob(
        pull_of(machine), SimpleNamespace(machine=machine), SimpleNamespace(reporter=SimpleNamespace(progressed=print))
    )  # type: ignore[arg-type]
    opened_before = site.fake.connections
    site.fake.requests.clear()
    job.begin()
    job.work()
    assert job._comparison == Comparison(fidelity=NUMBERS, reference=reference)
    assert site.fake.connections == opened_before + 1
    bundles = client.referrers(site.artifact.digest, bundle.MEDIA_TYPE)
    assert not [one for listed in bundles for one in site.fake.asked("GET", listed["digest"])]
    client.session.close()


def pull_of(machine: Machine) -> Pull:
    _, answers = asked(machine)
    change = Pull(
        reason=Reason.ARTIFACT_MISSING, release=release(), forced_by=(), offer=answers.offers[KEY], cost=Cost()
    )
    object.__setattr__(change.release.recipe, "build_key", KEY)
    return change


def test_where_none_were_signed_there_are_none(site: Site) -> None:
    client = client_of(site.fake.origin)
    said = Comparison(fidelity=NUMBERS, reference=reference_of(KEY))
    push_numbers(client, client.manifest(site.artifact.digest), said, str(site.folder))
    client.session.close()
    site.sign()
    assert builders_numbers(site.machine("enforce"), KEY, site.artifact.digest) == Comparison(fidelity=NUMBERS)
    site.sign(reference="sha256:" + "0" * 64)
    assert builders_numbers(site.machine("enforce"), KEY, site.artifact.digest).reference is None


def test_a_builder_may_sign_without_numbers(site: Site) -> None:
    site.sign(fidelity=None)
    assert asked(site.machine("enforce"))[0] == ""
    assert builders_numbers(site.machine("enforce"), KEY, site.artifact.digest) is None


def held(site: Site, mode: TrustMode, signed_by: str | None, *revoked: str, **more: str) -> Machine:
    """With an artifact in its store: its own (None), or pulled."""
    machine = site.machine(mode, *revoked, **more)
    artifact = machine.store.put(KEY, str(tree_of(machine)), RECIPE)
    assert artifact.digest == site.artifact.digest
    if signed_by is not None:
        registry = str(machine.traits.registries[0].address)
        origin = Origin(artifact=artifact.digest, build_key=KEY, registry=registry, signed_by=signed_by, since=NOW)
        machine.records.save_origin(origin, ())
    return machine


def test_what_the_store_holds_keeps_to_the_policy_of_today(site: Site) -> None:
    signer = read_id(str(site.keys / "builder.pub"))
    machine = held(site, "enforce", signer)
    assert not is_refused(machine, KEY)
    strict = replace(machine, traits=site.machine("enforce", keys=("stranger",)).traits)
    assert is_refused(strict, KEY)
    assert not is_refused(replace(machine, traits=site.machine("warn", keys=("stranger",)).traits), KEY)
    assert is_refused(replace(machine, traits=site.machine("off", site.artifact.digest).traits), KEY)
    assert not is_refused(replace(machine, traits=Traits()), KEY)
    machine.records.forget_origin(site.artifact.digest)
    assert not is_refused(strict, KEY)  # it was converted here too


def test_a_registry_that_is_not_named_any_more_keeps_to_the_strictest_rule(site: Site) -> None:
    """What came from it before trust was asked for is not trusted for that; what a listed key signed is."""
    machine = held(site, "enforce", "")
    signer = read_id(str(site.keys / "builder.pub"))
    for signed_by, refused in (("", True), (signer, False)):
        origin = Origin(artifact=site.artifact.digest, build_key=KEY, registry="old/x", signed_by=signed_by, since=NOW)
        machine.records.save_origin(origin, ())
        assert is_refused(machine, KEY) == refused
        assert not is_refused(replace(machine, traits=site.machine("off").traits), KEY)


@pytest.mark.parametrize("first", ["own", "pulled"])
def test_what_was_converted_here_says_nothing_of_what_was_pulled(site: Site, first: str) -> None:
    """Also by the rule for all registries."""
    rule = TrustRule(pattern="*", mode="enforce", keys=(TrustedKey(file=str(site.keys / "builder.pub")),))
    names = ("own", "pulled") if first == "own" else ("pulled", "own")
    made = {name: Artifact(digest=f"sha256:{name}", build_key=name, files=()) for name in names}
    signer = read_id(str(site.keys / "builder.pub"))
    origin = Origin(artifact="sha256:pulled", build_key="pulled", registry="host/x", signed_by=signer, since=NOW)
    assert BuildTrust(TrustPolicy(rules=(rule,))).of_stored(names, made, {origin.artifact: origin}) == {}


def test_what_is_refused_is_replaced(site: Site) -> None:
    """By what was converted here, or pulled; and only then."""
    machine = held(site, "enforce", "")
    tree = Path(machine.layout.root) / "other"
    for anew in (False, is_refused(machine, KEY)):
        tree.mkdir(exist_ok=True)
        (tree / "model.onnx").write_bytes(b"other")
        artifact = machine.store.put(KEY, str(tree), RECIPE, anew=anew)
        assert (artifact.digest == site.artifact.digest) != anew
    assert machine.store.damage(machine.store.artifacts()[KEY]) == ()
    assert machine.store.sweep() > 0  # what only the old one named


def test_origins_outlive_a_process_and_damage_is_named(site: Site) -> None:
    machine = held(site, "enforce", "sha256:key")
    origins = opened_again(machine).records.origins()
    assert origins[site.artifact.digest].signed_by == "sha256:key"
    assert opened_again(machine).records.load().origins == origins
    path = Path(machine.layout.records) / "origins.json"
    path.write_bytes(path.read_bytes()[:-9])
    assert opened_again(machine).records.damaged_beside() == ("origins.json",)


def opened_again(machine: Machine) -> Machine:
    from reconciler.engine.machine import open_machine

    return open_machine(machine.layout.root, machine.cache, machine.traits)


CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
convert: registry-only
registries: [{{url: "{origin}/{repository}"}}]
trust: [{{repository: "127.0.0.1:*", mode: {mode}, keys: [{{file: "{key}"}}]}}]
"""


def test_a_pass_pulls_what_is_signed_only(tmp_path: Path, capitals: Path, keys: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    config = tmp_path / "machine.yaml"
    with FakeRegistry().running() as fake:
        key = pushed(machine, fake.origin, tmp_path)
        [artifact] = opened(TestMachine(folder=tmp_path / "builder")).store.artifacts().values()
        site = Site(fake, tmp_path, artifact, keys)

        def run(*arguments: str, mode: str = "enforce") -> str:
            public = keys / "builder.pub"
            config.write_text(CONFIG.format(origin=fake.origin, repository=REPOSITORY, mode=mode, key=public))
            config.chmod(0o600)
            return machine.run(*arguments, RECONCILER_CONFIG=str(config)).out

        [refused] = json.loads(run("plan", "-o", "json"))["held"]
        assert refused["reason"] == "Untrusted"
        run("apply")
        assert opened(machine).store.artifacts() == {}
        assert not fake.asked("GET", artifact.files[0].digest)
        [condition] = conditions(run("status", "-o", "json"))
        assert (condition["status"], condition["reason"]) == ("False", "Untrusted")

        plan = json.loads(run("plan", "-o", "json", mode="warn"))
        assert plan["changes"][0]["action"] == "pull"
        assert [one["code"] for one in plan["warnings"]] == ["Untrusted"]

        client = client_of(fake.origin)
        recipe = json.loads(json.loads(client.manifest(artifact.digest))["annotations"]["reconciler.foundry/recipe"])
        client.session.close()
        site.sign(recipe=recipe, fidelity=replace(NUMBERS, build_key=key))
        signer = read_id(str(keys / "builder.pub"))
        [pull, *_] = json.loads(run("plan", "-o", "json"))["changes"]
        assert (pull["action"], pull["after"]["signedBy"]) == ("pull", signer)
        run("apply")
        assert set(opened(machine).store.artifacts()) == {key}
        assert [one.signed_by for one in opened(machine).records.origins().values()] == [signer]
        [condition] = conditions(run("status", "-o", "json"))
        assert condition["status"] == "True"
        assert signer in run("explain", "capitals-int4")


def conditions(status: str) -> list[dict[str, str]]:
    return [one for one in json.loads(status)["conditions"] if one["type"] == "BuildsTrusted"]


def test_nothing_is_asked_where_nothing_is_said() -> None:
    assert BuildTrust(TrustPolicy()).of_stored([KEY], {}, {}) == {}


def test_an_origin_is_known_before_its_artifact(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull that dies in between leaves no artifact that counts as one of this machine."""
    site.sign()
    machine = site.machine("enforce")
    job = PullJob(pull_of(machine), SimpleNamespace(machine=machine), SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setattr(ArtifactStore, "take_in", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        job.take()
    assert [one.artifact for one in machine.records.origins().values()] == [site.artifact.digest]
    assert machine.store.artifacts() == {}


def test_what_was_converted_here_has_no_origin(site: Site) -> None:
    machine = held(site, "enforce", "")
    assert is_refused(machine, KEY)
    tree = Path(machine.layout.root) / "tree"
    tree.mkdir(exist_ok=True)
    (tree / "model.onnx").write_bytes(b"graph" * 100)
    recipe = SimpleNamespace(as_json=lambda: RECIPE)
    context = SimpleNamespace(machine=machine, source=lambda key: SimpleNamespace(recipe=recipe))
    store_conversion(KEY, str(tree), context)  # type: ignore[arg-type]
    assert set(machine.store.artifacts()) == {KEY}
    assert machine.records.origins() == {}
    assert not is_refused(machine, KEY)


def test_where_a_stored_artifact_comes_from_is_not_forgotten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.state.records.ORIGINS_KEPT", 2)
    machine = held(site, "enforce", "sha256:key")
    [first] = machine.records.origins().values()
    for number in range(5):
        machine.records.save_origin(replace(first, artifact=f"sha256:{number}"), stored_digests(machine))
    assert list(machine.records.origins()) == [first.artifact, "sha256:2", "sha256:3", "sha256:4"]


def test_what_is_refused_counts_as_not_here(site: Site) -> None:
    """For failures that are over, and for what a pull has brought so far."""
    [artifact] = [site.artifact]
    doubt = Refusal(reason=Reason.UNTRUSTED, message="", enforced=False)
    for refusal, usable in ((replace(doubt, enforced=True), frozenset()), (doubt, {KEY}), (None, {KEY})):
        refused = {KEY: refusal} if refusal else {}
        assert Observed(artifacts={KEY: artifact}, refused=refused).usable == usable
