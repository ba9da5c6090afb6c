"""Bit rot: single bits turn, no stamp tells of it, the scrub finds every one and the pass that follows mends it."""

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.backends.foundry.served_files import MARKER
from reconciler.domain.finding import Finding
from reconciler.engine.machine import Machine, locked_machine, observe
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import Reconciler
from reconciler.engine.resolve import resolve
from reconciler.engine.scrub import Scrubber, take_doubts
from reconciler.host.stamps import StampBook, stamp_of
from reconciler.operations.verify import verify
from reconciler.sources.manifests import load
from reconciler.state.progress import scrub_progress
from tests.at_rest import convert, opened, serve
from tests.machine import TestMachine, tree
from tests.trust import FULL, NIGHTLY, record

FLIPS = 20_000 if NIGHTLY else 1000 if FULL else 300
MODELS, AT_ONCE = 50, 100  # bits that turn between two scrubs, each in another file


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: mending flushes each file, which a disk takes its time for."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture
def served(fast: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=fast)
    one.give_model(capitals)
    for number in range(MODELS):
        size, symmetric = (16, 32, 64, 128, 256)[number % 5], str(bool(number // 5 % 2)).lower()
        more = f"  quantization: {{blockSize: {size}, symmetric: {symmetric}}}\n"
        one.declare(f"capitals-{number}", more=more)
    serve(one)
    return one


def flip(path: Path, bit: int, book: StampBook) -> None:
    """As a disk does it: no stamp changes. Ours do when we write, so the book is told that they were so before."""
    known = book.remembered(os.stat(path))
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)
    if known is not None:
        book._entries[stamp_of(os.stat(path))] = [known, str(path)]


def random_bit(path: Path, rng: random.Random) -> int:
    return rng.randrange(path.stat().st_size * 8)


class Kept:
    """A daemon without its loop."""

    def __init__(self, machine: TestMachine, opened: Machine, keeping: Reconciler) -> None:
        self.parsed = load(str(machine.manifests))
        self.machine = opened
        self.keeping = keeping
        self.woken = 0

    def scrub(self) -> int:
        def wake() -> None:
            self.woken += 1

        return Scrubber(self.machine, wake).run().last.found

    def convert_again(self) -> None:
        """In the place of the converter: all that the next pass would convert, because nothing else has its bytes."""
        take_doubts(self.machine)
        observed = observe(self.machine)
        for wanted in resolve(self.parsed, self.machine.stamps).desired.wanted:
            if wanted.release.recipe.build_key not in observed.artifacts.keys() | observed.mendable:
                convert(self.machine, wanted.release.recipe)

    def run_pass(self) -> PassResult:
        return self.keeping.run_pass(self.parsed)


@pytest.fixture
def kept(machine: TestMachine) -> Iterator[Kept]:
    yield from keep(machine)


def keep(machine: TestMachine) -> Iterator[Kept]:
    with (
        locked_machine(str(machine.root), str(machine.cache), command="test") as one,
        Reconciler(one, Reporter(), Options(), wake=lambda: None) as keeping,
    ):
        kept = Kept(machine, one, keeping)
        assert kept.run_pass().converged
        yield kept


def rotting(machine: TestMachine) -> list[Path]:
    return [path for top in ("oci", "served") for path in sorted((machine.root / top).rglob("*")) if path.is_file()]


def content(machine: TestMachine) -> dict[str, bytes]:
    """All of it, but what names the moment of a repair, and an index that was set aside."""
    files = {str(path.relative_to(machine.root)): path.read_bytes() for path in rotting(machine)}
    return {name: data for name, data in files.items() if not name.endswith(f"/{MARKER}") and ".damaged-" not in name}


def is_named(path: Path, findings: list[Finding], root: Path) -> bool:
    if path.is_relative_to(root / "served"):
        return any(one.where == str(path.parent.relative_to(root)) for one in findings)
    if path.parent.name == "sha256":
        return any(one.where == f"sha256:{path.name}" for one in findings)
    return any(one.code in ("StoreUnreadable", "ManifestDamaged") for one in findings)


def test_each_flip_of_a_bit_is_found_and_mended_by_the_next_pass(served: TestMachine) -> None:
    rng = random.Random(20261122)
    whole, names = content(served), rotting(served)
    for kept in keep(served):
        done = 0
        while done < FLIPS:
            hit = rng.sample(names, min(AT_ONCE, FLIPS - done))
            for path in hit:
                flip(path, random_bit(path, rng), kept.machine.stamps)
            findings = list(verify(kept.machine))
            assert [path for path in hit if not is_named(path, findings, served.root)] == []
            before = {path for path in hit if path.name != MARKER}
            assert kept.scrub() >= len(before)
            kept.convert_again()
            result = kept.run_pass()
            assert result.converged, [(c.action, c.reason, c.variant, c.forced_by) for c in result.remaining.changes]
            done += len(hit)
            assert content(served) == whole
        assert verify(kept.machine) == ()
    record("rot", f"{done} of {FLIPS} flips", "any file of store and served, stamps unchanged; mended by the next pass")


def blob_of(machine: TestMachine, name: str) -> Path:
    artifact = next(iter(opened(machine).store.artifacts().values()))
    file = next(file for file in artifact.files if file.path == name)
    return Path(opened(machine).store.blob(file.digest))


def twice(path: Path, book: StampBook) -> None:
    """Two bits: nothing can tell which."""
    flip(path, 3, book)
    flip(path, 77, book)


def actions(result: PassResult) -> list[str]:
    return [f"{one.action} {one.reason} {one.variant}".rstrip() for one in result.plan.changes]


def test_a_blob_without_a_twin_is_built_again_while_what_is_served_goes_on(machine: TestMachine, kept: Kept) -> None:
    before = tree(machine.root / "served"), machine.index()
    twice(blob_of(machine, "genai_config.json"), kept.machine.stamps)
    kept.scrub()
    result = kept.run_pass()
    assert actions(result) == ["convert DriftDetected capitals-int4"]
    assert (tree(machine.root / "served"), machine.index()) == before
    assert [change.action for change in result.running] == ["convert"]


def test_when_both_twins_rot_the_name_stays_and_it_is_built_again(machine: TestMachine, kept: Kept) -> None:
    """Its users are told (Ready is False) and may unregister it: a flipped bit is no reason to be gone for hours."""
    twice(blob_of(machine, "model.onnx.data"), kept.machine.stamps)
    twice(machine.served("capitals-int4") / "model.onnx.data", kept.machine.stamps)
    kept.scrub()
    result = kept.run_pass()
    assert actions(result) == ["convert DriftDetected capitals-int4", "repair DriftDetected capitals-int4"]
    assert list(machine.index()) == ["capitals-int4:1"]
    assert kept.machine.records.conditions()["capitals-int4"]["Ready"].status == "False"


def test_a_manifest_beyond_repair_takes_no_blob_with_it(machine: TestMachine, kept: Kept) -> None:
    artifact = next(iter(kept.machine.store.artifacts().values()))
    twice(Path(kept.machine.store.blob(artifact.digest)), kept.machine.stamps)
    kept.scrub()
    result = kept.run_pass()
    assert actions(result) == ["convert DriftDetected capitals-int4"]
    assert all(Path(kept.machine.store.blob(file.digest)).exists() for file in artifact.files)


def test_an_entry_of_the_index_that_names_nothing_is_found_again_among_the_blobs(
    machine: TestMachine, kept: Kept
) -> None:
    path = machine.root / "oci" / "index.json"
    whole = path.read_bytes()
    artifact = next(iter(kept.machine.store.artifacts().values()))
    digest = artifact.digest.encode()
    other = digest[:-1] + (b"0" if digest[-1:] != b"0" else b"1")
    path.write_bytes(whole.replace(digest, other))
    assert kept.run_pass().plan.changes == ()
    assert path.read_bytes() == whole


def test_a_file_with_two_names_is_read_once(machine: TestMachine, kept: Kept) -> None:
    size = sum(path.stat().st_size for path in rotting(machine))
    os.link(blob_of(machine, "model.onnx.data"), machine.root / "served" / "twin")
    done = Scrubber(kept.machine, lambda: None).run().last
    assert done.checked == done.total == size


def test_it_goes_on_where_it_was_and_begins_again_when_its_time_has_come(machine: TestMachine, kept: Kept) -> None:
    first = Scrubber(kept.machine, lambda: None, 3600.0, portion=1000)
    first.step()
    for _ in range(120):
        assert first.step() < 1.0
    first.close()
    halfway = scrub_progress(kept.machine.layout).read()
    assert 0 < halfway.now.checked < halfway.now.total
    assert halfway.position
    second = Scrubber(kept.machine, lambda: None, 3600.0)
    second.step()
    while second.step() < 1.0:
        pass
    done = scrub_progress(kept.machine.layout).read()
    assert done.last.ended
    assert not done.now.began
    assert halfway.now.began == done.last.began
    assert done.last.checked == halfway.now.total
    assert 1000 < second.step() <= 3600.0


def test_a_finding_survives_a_crash_before_its_pass(machine: TestMachine, kept: Kept) -> None:
    flip(blob_of(machine, "model.onnx"), 5, kept.machine.stamps)
    scrub = Scrubber(kept.machine, lambda: None)
    assert scrub.run().last.found == 1
    scrub.close()  # the process ends here: nothing may say that everything was read
    assert not scrub_progress(kept.machine.layout).read().last.ended
    take_doubts(kept.machine)
    scrub.close()
    assert scrub_progress(kept.machine.layout).read().last.found == 1


def test_what_changes_under_its_eyes_is_no_finding(machine: TestMachine, kept: Kept) -> None:
    path = machine.served("capitals-int4") / "model.onnx.data"
    path.chmod(0o644)
    path.write_bytes(b"edited by somebody")
    assert kept.scrub() == 0
    assert "repair DriftDetected capitals-int4" in actions(kept.run_pass())


def test_each_finding_and_each_repair_is_an_event(machine: TestMachine, kept: Kept) -> None:
    flip(blob_of(machine, "model.onnx.data"), 5, kept.machine.stamps)
    kept.scrub()
    assert kept.woken == 1
    assert actions(kept.run_pass()) == ["repair DriftDetected"]
    found, mended = kept.machine.records.events(limit=2)
    assert (found["type"], mended["type"]) == ("scrub.found", "repair.done")
    assert str(found["path"]).startswith("oci/blobs/sha256/")
