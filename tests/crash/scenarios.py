"""What is killed at each of its steps. A scenario prepares a machine, and then acts on it, through the same doors as
the command line. Acting again is how it is mended: nobody but a pass ever tidies up."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from reconciler.backends.protocol import ServingRuntime
from reconciler.domain.machine.backends import BackendSettings
from reconciler.domain.recorded import Suspension
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.engine.machine import NO_TRAITS, Machine, Traits, locked_machine, open_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.host import durable
from reconciler.host.reading import size_of
from reconciler.operations.repository import read_branch
from reconciler.operations.suspend import resume, suspend
from reconciler.sources.download import Download
from reconciler.sources.git.address import Remote
from reconciler.sources.git.runner import Credentials
from reconciler.sources.manifests import load
from tests.at_rest import edit_catalog
from tests.crash.stand_ins import FAILS, StandInCache, make_runtime, options
from tests.git_server import Repository
from tests.machine import TestMachine

CAPITALS = Path(__file__).parents[2] / "examples" / "capitals" / "model"


class World(TestMachine):
    """One machine below one folder: `fleet` and `git` are read only, `root` and `cache` are what is killed."""

    def declare_two(self) -> None:
        self.declare("one")
        self.declare("two", precisions="int8")

    def has_source(self) -> None:
        """Beside the manifests, and light: nobody converts it."""
        model = self.folder / "fleet" / "model"
        if not model.exists():
            shutil.copytree(CAPITALS, model)

    @property
    def traits(self) -> Traits:
        return NO_TRAITS

    def options(self, **more: Any) -> Options:
        return options(**more)

    def wrong_copies(self) -> Iterator[str]:
        """Where the runtime serves copies of its own: what is wrong with those that it shows."""
        yield from ()

    def opened(self) -> Machine:
        return open_machine(str(self.root), str(self.cache), self.traits)

    def apply(self, **more: Any) -> PassResult:
        with locked_machine(str(self.root), str(self.cache), command="apply", traits=self.traits) as machine:
            return run_pass(machine, load(str(self.manifests)), Reporter(), self.options(**more))

    def applied(self) -> None:
        result = self.apply()
        assert result.converged, [one.message for one in result.failed]

    def folder_of(self, variant: str) -> Path:
        return self.served(variant)

    def blob(self, path: str) -> Path:
        machine = self.opened()
        artifact = next(iter(machine.store.artifacts().values()))
        digest = next(file.digest for file in artifact.files if file.path == path)
        return Path(machine.store.blob(digest))

    @cached_property
    def repository(self) -> Repository:
        return Repository(self.folder / "git")


class CacheWorld(World):
    """The machine has Foundry Local 0.5 to 1.x: what serves are copies in its cache, which our own process makes."""

    @property
    def traits(self) -> Traits:
        return Traits(backends=(BackendSettings(name="foundry-local-1", catalog=str(self.cache)),))

    def options(self, **more: Any) -> Options:
        def runtime(catalog: str, scratch: str, log: str) -> ServingRuntime:
            if catalog != str(self.cache):
                return make_runtime(catalog, scratch, log)
            return StandInCache(catalog, scratch=scratch, log=log)

        return replace(options(**more), make_runtime=runtime)

    def copies(self) -> Iterator[tuple[Path, Any]]:
        """Those that the runtime would show, with their marks; None for one that cannot be read."""
        for name in sorted((self.cache / "reconciler").glob("*/inference_model.json")):
            if (name.parent / "genai_config.json").exists():
                try:
                    yield name.parent, json.loads((name.parent / "reconciler.json").read_bytes())["body"]
                except (OSError, ValueError, LookupError):
                    yield name.parent, None

    def index(self) -> dict[str, Any]:
        return {
            mark["id"]: {"model_path": mark["path"], "model_info": {"stringProperties": mark["properties"]}}
            for _, mark in self.copies()
            if mark is not None
        }

    def wrong_copies(self) -> Iterator[str]:
        for folder, mark in self.copies():
            if mark is None:
                yield f"{folder.name}: no mark"
                continue
            for file in mark["files"]:
                path = folder / file["path"]
                found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "gone"
                if file["digest"] != f"sha256:{found}":
                    yield f"{folder.name}: {file['path']} is {found}, promised is {file['digest']}"
            if json.loads((folder / "inference_model.json").read_bytes())["Name"] != mark["id"]:
                yield f"{folder.name}: the runtime knows it by another name"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`damaged`: what is served was damaged before, so the checks that want it whole wait for the pass that mends it.
    `converges`: acting undisturbed leaves nothing to do."""

    prepare: Callable[[World], None]
    act: Callable[[World], object]
    damaged: bool = False
    converges: bool = True
    world: type[World] = World


def overwrite(path: Path, data: bytes) -> None:
    """As an editor does that saves in place."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)


def _nothing_served(world: World) -> None:
    world.has_source()
    world.declare_two()


def _served(world: World) -> None:
    _nothing_served(world)
    world.applied()


def _two_releases_to_change(world: World) -> None:
    _served(world)
    world.declare("one", template="phi3")
    world.declare("two", precisions="int8", more="  generation: {temperature: 0.25}\n")


def _another_recipe(world: World) -> None:
    _served(world)
    world.declare("one", more="  quantization: {blockSize: 64}\n")


def _one_gone(world: World) -> None:
    _served(world)
    (world.manifests / "two.yaml").unlink()


def _damaged_folder(world: World) -> None:
    _served(world)
    folder = world.folder_of("one-int4")
    overwrite(folder / "genai_config.json", b"edited")
    (folder / "tokenizer.json").unlink()
    (folder / "foreign.txt").write_bytes(b"mine")
    (folder / "deep").mkdir()
    (folder / "deep" / "foreign").write_bytes(b"mine too")


def _lost_folder(world: World) -> None:
    _served(world)
    shutil.rmtree(world.folder_of("one-int4"))
    (world.folder_of("two-int8") / "release.json").unlink()


def _lost_registrations(world: World) -> None:
    _served(world)
    edit_catalog(world, lambda entries: {name: one for name, one in entries.items() if name != "one-int4:1"})
    elsewhere = str(world.folder_of("one-int4"))
    edit_catalog(world, lambda entries: {n: one | {"model_path": elsewhere} for n, one in entries.items()})


def _damaged_store(world: World) -> None:
    """The artifact is built again when a release needs it; the release changes too."""
    _served(world)
    overwrite(world.blob("tokenizer.json"), b"[]")
    (world.root / "oci" / "index.json").write_bytes(b"{")
    world.declare("one", template="phi3")


def _lost_records(world: World) -> None:
    _served(world)
    shutil.rmtree(world.root / "records")


def _damaged_records(world: World) -> None:
    _served(world)
    for path in (world.root / "records").rglob("*.json"):
        path.write_bytes(path.read_bytes()[:-9])
    world.declare("one", more="  generation: {temperature: 0.25}\n")


def _protected(world: World) -> None:
    _served(world)
    path = world.manifests / "one.yaml"
    marked = "metadata:\n  annotations: {reconciler.foundry/prune: disabled}\n"
    path.write_text(path.read_text().replace("metadata:\n", marked))


def _failing(world: World) -> None:
    _served(world)
    world.declare("three", precisions="int4, int8")
    (world.folder / "fleet" / FAILS).touch()


def _failed(world: World) -> None:
    _failing(world)
    world.apply()
    (world.folder / "fleet" / FAILS).unlink()


def _suspended(world: World) -> None:
    _served(world)
    _suspend(world)


def _link_in_the_way(world: World) -> None:
    _served(world)
    folder, aside = world.folder_of("one-int4").parent, world.folder / "fleet" / "aside"
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    folder.symlink_to(aside, target_is_directory=True)


def _killed_before(world: World) -> None:
    """What two killed passes may have left at once, and what nobody will ever miss."""
    _served(world)
    for name in ("staging/work/0a/tree/model.onnx", "trash/0b/deep/release.json", "staging/0c/x"):
        path = world.root / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"left")
    for name in ("records/.machine.json.0a1b2c3d.tmp", "oci/.index.json.0a1b2c3d.tmp"):
        (world.root / name).write_bytes(b"{")
    (world.root / "oci" / "blobs" / "sha256" / hashlib.sha256(b"nobody's").hexdigest()).write_bytes(b"nobody's")


def _suspend(world: World) -> None:
    said = Suspension(name="one", reason="a demo", since="2026-01-01T00:00:00Z", until="")
    with locked_machine(str(world.root), str(world.cache), command="suspend", suspends=True) as machine:
        suspend(machine, said)


def _resume(world: World) -> None:
    with locked_machine(str(world.root), str(world.cache), command="resume", suspends=True) as machine:
        resume(machine, "one")


def _in_git(world: World) -> None:
    repository = world.repository
    for path in CAPITALS.iterdir():
        repository.write(f"model/{path.name}", path.read_bytes())
    repository.model("one")
    repository.commit("one model")


def _followed_and_moved(world: World) -> None:
    """Another commit, with another model in it."""
    _in_git(world)
    _follow(world)
    changed = json.loads((CAPITALS / "generation_config.json").read_bytes())
    world.repository.write("model/generation_config.json", json.dumps(changed | {"temperature": 0.5}))
    world.repository.commit("another")


def _torn_mirror(world: World) -> None:
    _followed_and_moved(world)
    for pack in (world.root / "mirror.git" / "objects" / "pack").glob("*.pack"):
        overwrite(pack, pack.read_bytes()[:100])


def _follow(world: World) -> PassResult:
    wanted = Remote(str(world.folder / "git"), "main", "manifests", allow_file=True)
    with locked_machine(str(world.root), str(world.cache), command="apply") as machine:
        parsed = read_branch(machine, wanted, Credentials(), accept=True).parsed
        return run_pass(machine, parsed, Reporter(), options())


class StandInHub:
    """Gives the files of a folder, in pieces, into the partial file."""

    def held(self, target: str) -> int:
        return size_of(target)

    def download(self, source: object, file: LockedFile, target: str, told: Callable[[int], None], piece: int) -> None:
        data = (CAPITALS / file.path).read_bytes()
        with open(target, "ab") as written:
            for start in range(written.tell(), len(data), 1 << 19):
                durable._step("download")
                written.write(data[start : start + (1 << 19)])
                written.flush()


def hub_source() -> LockedSource:
    files = tuple(
        LockedFile(path=path.name, size=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(CAPITALS.iterdir())
    )
    return LockedSource(repo="org/capitals", revision="c" * 40, files=files)


def _fetch(world: World) -> None:
    """As a DownloadJob and the pass that follows it do."""
    source = hub_source()
    with locked_machine(str(world.root), str(world.cache), command="apply") as machine:
        machine.sources.sweep()
        machine.records.sweep()
        if not machine.sources.look(source, machine.stamps).whole:
            folder = machine.sources.begin(source)
            Download(StandInHub(), source, folder, lambda fraction, text: None).run()  # type: ignore[arg-type]
            machine.sources.publish(source, machine.stamps)
        machine.stamps.save()


def _fetched_and_damaged(world: World) -> None:
    _fetch(world)
    folder = Path(world.opened().sources.folder(hub_source().digest))
    overwrite(folder / "config.json", b"{}")
    (folder / "tokenizer.json").unlink()


def _drop_source(world: World) -> None:
    with locked_machine(str(world.root), str(world.cache), command="apply") as machine:
        machine.sources.sweep()
        machine.records.sweep()
        machine.sources.free(hub_source().digest)


def _apply(world: World) -> PassResult:
    return world.apply()


def _apply_confirmed(world: World) -> PassResult:
    return world.apply(confirm=True)


def _one(world: World) -> None:
    world.has_source()
    world.declare("one")


def _one_served(world: World) -> None:
    _one(world)
    world.applied()


def _one_to_replace(world: World) -> None:
    _one_served(world)
    world.declare("one", template="phi3")


def _one_to_remove(world: World) -> None:
    _one_served(world)
    (world.manifests / "one.yaml").unlink()


def _copy_to_mend(world: World) -> None:
    _one_served(world)
    folder = world.cache / "reconciler" / "one-int4-1"
    overwrite(folder / "genai_config.json", b"edited")
    (folder / "inference_model.json").unlink()


SCENARIOS: dict[str, Scenario] = {
    "first-apply": Scenario(prepare=_nothing_served, act=_apply),
    "change-releases": Scenario(prepare=_two_releases_to_change, act=_apply),
    "change-recipe": Scenario(prepare=_another_recipe, act=_apply),
    "prune": Scenario(prepare=_one_gone, act=_apply_confirmed),
    "repair-folder": Scenario(prepare=_damaged_folder, act=_apply, damaged=True),
    "repair-lost-folder": Scenario(prepare=_lost_folder, act=_apply, damaged=True),
    "repair-registrations": Scenario(prepare=_lost_registrations, act=_apply, damaged=True),
    "repair-behind-a-link": Scenario(prepare=_link_in_the_way, act=_apply, damaged=True),
    "repair-store": Scenario(prepare=_damaged_store, act=_apply, damaged=True),
    "rebuild-records": Scenario(prepare=_lost_records, act=_apply, damaged=True),
    "set-records-aside": Scenario(prepare=_damaged_records, act=_apply, damaged=True),
    "protect": Scenario(prepare=_protected, act=_apply),
    "sweep": Scenario(prepare=_killed_before, act=_apply, damaged=True),
    "remember-failure": Scenario(prepare=_failing, act=_apply, converges=False),
    "forget-failure": Scenario(prepare=_failed, act=lambda world: world.apply(retry=True)),
    "suspend": Scenario(prepare=_served, act=_suspend),
    "resume": Scenario(prepare=_suspended, act=_resume),
    "fetch-git": Scenario(prepare=_in_git, act=_follow),
    "fetch-git-again": Scenario(prepare=_followed_and_moved, act=_follow),
    "fetch-git-anew": Scenario(prepare=_torn_mirror, act=_follow),
    "fetch-hub": Scenario(prepare=lambda world: None, act=_fetch),
    "fetch-hub-again": Scenario(prepare=_fetched_and_damaged, act=_fetch),
    "cache-register": Scenario(prepare=_one, act=_apply, world=CacheWorld),
    "cache-replace": Scenario(prepare=_one_to_replace, act=_apply, world=CacheWorld),
    "cache-remove": Scenario(prepare=_one_to_remove, act=_apply_confirmed, world=CacheWorld),
    "cache-mend": Scenario(prepare=_copy_to_mend, act=_apply, damaged=True, world=CacheWorld),
    "drop-source": Scenario(prepare=_fetch, act=_drop_source),
}
