"""One bad object harms only itself: 99 models are brought back in one pass beside every kind of poison that we could
think of, all of it at once."""

import errno
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.machine import Machine, locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.planning import take_snapshot
from reconciler.engine.reconciler import run_pass
from reconciler.sources.manifests import load
from tests.at_rest import edit_catalog, serve
from tests.machine import REPOSITORY, TestMachine
from tests.trust import record

GOOD = 99


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def source(machine: TestMachine, name: str) -> Path:
    machine.declare(name, source=f"../{name}")
    return machine.give_model(REPOSITORY / "examples" / "capitals" / "model", name)


def unreadable_text(machine: TestMachine) -> None:
    (machine.manifests / "text.yaml").write_bytes(b"kind: \xff\xfe\n")


def manifest_that_hangs(machine: TestMachine) -> None:
    fifo(machine.manifests / "pipe.yaml")


def weights_that_hang(machine: TestMachine) -> None:
    fifo(source(machine, "hangs") / "model.safetensors")


def configuration_that_hangs(machine: TestMachine) -> None:
    fifo(source(machine, "waits") / "config.json")


def giant_header(machine: TestMachine) -> None:
    (source(machine, "giant") / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 63) + b"{}")


def no_source(machine: TestMachine) -> None:
    shutil.rmtree(source(machine, "gone"))


def template_that_recurses(machine: TestMachine) -> None:
    deep = "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}"
    machine.declare("deep", template=f"{{inline: {{jinja: {deep!r}}}}}")
    (machine.manifests / "deep.jinja").write_text(deep)
    machine.declare("deeper", template="{jinja: deep.jinja}")


def thousand_brackets(machine: TestMachine) -> None:
    (machine.manifests / "brackets.yaml").write_text("a: " + "[" * 100_000)


POISONS: dict[str, Callable[[TestMachine], None]] = {
    "text.yaml": unreadable_text,
    "pipe.yaml": manifest_that_hangs,
    "hangs": weights_that_hang,
    "waits": configuration_that_hangs,
    "giant": giant_header,
    "gone": no_source,
    "deep": template_that_recurses,
    "brackets.yaml": thousand_brackets,
}


@pytest.fixture
def machine(tmp_path: Path) -> TestMachine:
    return TestMachine(folder=tmp_path)


def applied(machine: TestMachine) -> PassResult:
    with locked_machine(str(machine.root), str(machine.cache), command="test") as opened:
        return run_pass(opened, load(str(machine.manifests)), Reporter(), Options())


def test_ninety_nine_are_mended_in_one_pass_beside_every_poison(machine: TestMachine, capitals: Path) -> None:
    machine.give_model(capitals)
    for number in range(GOOD):
        machine.declare(f"m{number:02}")
    serve(machine)
    for number in range(GOOD):
        path = machine.served(f"m{number:02}-int4") / "genai_config.json"
        path.chmod(0o644)
        path.write_bytes(b"edited")
    for poison in POISONS.values():
        poison(machine)
    result = applied(machine)
    done = {one.change.variant for one in result.outcomes if (one.change.action, one.status) == ("repair", "done")}
    assert len(done) == GOOD, [one.message for one in result.failed][:3]
    assert {one.change.action for one in result.outcomes} == {"repair"}
    named = {next((name for name in POISONS if name in f"{p.file} {p.message}"), p) for p in result.resolution.problems}
    assert named == set(POISONS)
    assert all(problem.code and "Traceback" not in problem.message for problem in result.resolution.problems)
    assert not result.converged
    record("poison", f"{len(POISONS)} kinds at once: {GOOD} of {GOOD} converge in the same pass", ", ".join(POISONS))


def with_two(machine: TestMachine, capitals: Path) -> None:
    machine.give_model(capitals)
    machine.declare("good")
    machine.declare("bad")
    serve(machine)


def refusing(monkeypatch: pytest.MonkeyPatch, name: str, path: str) -> None:
    """The system answers EIO when `path` is listed or opened."""
    real = getattr(os, name)

    def refuse(asked: Any, *arguments: Any, **more: Any) -> Any:
        if asked == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(asked, *arguments, **more)

    monkeypatch.setattr(os, name, refuse)


def planned(opened: Machine, machine: TestMachine) -> tuple[list[str], list[str]]:
    plan = take_snapshot(opened, load(str(machine.manifests))).plan
    return [f"{c.action} {c.variant}" for c in plan.changes], [f"{h.reason} {h.variant}" for h in plan.held]


UNLISTED = [("bad-int4", [], ["Unreadable bad-int4"]), ("bad-int4/1", ["repair bad-int4"], [])]


@pytest.mark.parametrize(("place", "changes", "held"), UNLISTED, ids=[one[0] for one in UNLISTED])
def test_a_folder_that_cannot_be_listed_harms_only_its_own_model(
    machine: TestMachine,
    capitals: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    changes: list[str],
    held: list[str],
) -> None:
    with_two(machine, capitals)
    with locked_machine(str(machine.root), str(machine.cache), command="test") as opened:
        refusing(monkeypatch, "scandir", opened.layout.at("served", *place.split("/")))
        assert planned(opened, machine) == (changes, held)


def test_what_cannot_be_listed_is_neither_pruned_nor_freed(
    machine: TestMachine, capitals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_two(machine, capitals)
    (machine.manifests / "bad.yaml").unlink()
    edit_catalog(machine, lambda entries: {n: one for n, one in entries.items() if n.startswith("good")})
    with locked_machine(str(machine.root), str(machine.cache), command="test") as opened:
        refusing(monkeypatch, "scandir", opened.layout.at("served", "bad-int4"))
        assert planned(opened, machine) == ([], ["Unreadable bad-int4"])


def test_an_artifact_whose_manifest_cannot_be_read_just_now_keeps_its_blobs(
    machine: TestMachine, capitals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was swept: gigabytes that nothing named any more, for one bad read."""
    with_two(machine, capitals)
    blobs = machine.root / "oci" / "blobs" / "sha256"
    before = sorted(os.listdir(blobs))
    with locked_machine(str(machine.root), str(machine.cache), command="test") as opened:
        one = next(iter(opened.store.artifacts().values()))
        fresh = type(opened.store)(opened.layout, opened.stamps)
        with monkeypatch.context() as context:
            refusing(context, "open", opened.store.blob(one.digest))
            assert fresh.sweep() == 0
            other = machine.folder / "tree"
            other.mkdir()
            (other / "model.onnx").write_bytes(b"another")
            fresh.put("sha256:" + "9" * 64, str(other), {"architecture": "x", "precision": "int4"})
        assert set(before) <= set(os.listdir(blobs))
        assert one.build_key in fresh.artifacts()
