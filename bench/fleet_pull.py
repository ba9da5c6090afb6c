"""Many machines pull from one registry, and everything is done to it meanwhile: `python -m bench.fleet_pull`.

Each agent is a process with a root of its own (bench/fleet_agent.py) that follows the same git repository and may not
convert. The registry is Debian's, behind a relay that counts and cuts (bench/relay.py). After each round every served
file of every machine is compared with what a right artifact holds.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import fleet_agent
from bench.fleet_agent import SIZE, WEIGHTS, weights_of
from bench.relay import Relay
from reconciler.domain.layout import Layout
from reconciler.engine.resolve import resolve
from reconciler.host.stamps import StampBook
from reconciler.sources.cache import SourceCache
from reconciler.sources.manifests import load
from reconciler.store.artifact_store import ArtifactStore
from tests import canaries
from tests.git_server import Repository
from tests.hub_server import COMMIT, HubServer
from tests.registry.keys import key_pair
from tests.registry_server import PASSWORD, USER, DebianRegistry, FakeRegistry
from tests.waiting import wait_for

ROOT = Path(__file__).parents[1]
CAPITALS = ROOT / "examples" / "capitals" / "model"
NAME = "models/fleet"
PRECISIONS = ("int4", "int8")
OK = 0
MOST_ROUNDS = 4
MODEL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {{name: {name}}}
spec:
  source: {{huggingface: {{repo: org/{source}, revision: {revision}}}}}
  precisions: [{precisions}]
  promptTemplate: {template}
"""
CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
name: {name}
convert: {convert}
registries: [{{url: "{origin}/{repository}", role: {role}{credentials}}}]
{more}"""


Served = tuple[str, str]  # build key, origin of the template


@dataclass
class Round:
    """What one command on every machine came to. `wrong`: served files that no right artifact holds."""

    what: str
    agents: int
    seconds: float
    codes: dict[int, int]
    down: int
    peak: int
    converged: int
    wrong: int

    def __str__(self) -> str:
        each = self.down / self.agents
        codes = ", ".join(f"{count} x {code}" for code, count in sorted(self.codes.items()))
        return (
            f"{self.what:<52} {self.seconds:6.1f} s  {self.down / 1e6:8.2f} MB  {each / 1e3:9.1f} KB each  "
            f"peak {self.peak:3}  exit {codes:<18} {self.converged}/{self.agents} right, {self.wrong} wrong"
        )


@dataclass
class Machine:
    folder: Path
    more: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def index(self) -> dict[str, str]:
        """What Foundry Local is told to serve: folders by id."""
        path = self.folder / "cache" / "foundry.local.modelinfo.json"
        listed = json.loads(path.read_text())["models"] if path.exists() else []
        return {one["model_info"]["id"]: one["model_path"] for one in listed}

    def served(self) -> tuple[set[Served], int]:
        """What it serves rightly, and how many registered folders are wrong."""
        right, wrong = set(), 0
        for folder in self.index.values():
            marker = json.loads((Path(folder) / "release.json").read_text())["body"]
            if (Path(folder) / WEIGHTS).read_bytes() == weights_of(marker["build_key"]):
                right.add((marker["build_key"], marker["template_origin"]))
            else:
                wrong += 1
        return right, wrong


class Fleet:
    """One repository, one hub that only the builder may ask, one registry, and machines that only pull."""

    def __init__(self, folder: Path, agents: int, models: int) -> None:
        self.folder, self.rounds = folder, list[Round]()
        self.registry = DebianRegistry(folder / "registry")
        self.relay = Relay(self.registry.port)
        self.hub = HubServer()
        self._sources = {f"m{number}": f"m{number}" for number in range(models)}
        self.template = ""
        self.builder = Machine(folder / "builder")
        self.machines = [Machine(folder / f"edge-{number:02}") for number in range(agents)]
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["bench.fleet_agent"])

    def begin(self) -> None:
        self.repository = Repository(self.folder / "fleet")
        for source in self._sources.values():
            self._give(source)
        self.declare("chatml")
        for machine in (self.builder, *self.machines):
            machine.folder.mkdir()
        self.configure([self.builder], self.registry.origin, "local", "push")
        self.point(self.machines, f"http://127.0.0.1:{self.relay.port}")

    def declare(self, template: str = "", *, anew: str = "") -> None:
        """And lock, and commit. `anew`: the model that gets another source, and with it other build keys."""
        self.template = template or self.template
        if anew:
            self._sources[anew] = f"{anew}-{len(self.rounds)}"
            self._give(self._sources[anew])
        for name, source in self._sources.items():
            fields = {"name": name, "source": source, "revision": COMMIT, "template": self.template}
            self.repository.write(f"manifests/{name}.yaml", MODEL.format(precisions=", ".join(PRECISIONS), **fields))
        codes = self.done([Machine(self.repository.folder)], ["lock"], HF_ENDPOINT=self.hub.url)
        assert codes == {OK: 1}, (self.folder / "lock.log").read_text()
        self.repository.commit()

    def _give(self, source: str) -> None:
        files = self.hub.give(f"org/{source}", CAPITALS).files
        files["special_tokens_map.json"] = json.dumps({"x": source}).encode()

    def configure(
        self, machines: Sequence[Machine], origin: str, convert: str, role: str, credentials: str = "", more: str = ""
    ) -> None:
        for machine in machines:
            text = CONFIG.format(
                name=machine.folder.name,
                convert=convert,
                origin=origin,
                repository=NAME,
                role=role,
                credentials=credentials,
                more=more,
            )
            config = machine.folder / "machine.yaml"
            config.write_text(text)
            config.chmod(0o600)

    def point(self, machines: Sequence[Machine], origin: str, credentials: str = "", more: str = "") -> None:
        self.configure(machines, origin, "registry-only", "pull", credentials, more)

    def build(self, *arguments: str) -> None:
        """Without claims, which cost a second for each key: there is one builder."""
        asks = {"HF_ENDPOINT": self.hub.url}
        found = self.done([self.builder], ["build", "--ignore-claims", *self.follow, *arguments], **asks)
        assert found == {OK: 1}, (self.builder.folder / "log").read_text()[-2000:]

    @property
    def follow(self) -> list[str]:
        return ["--repo", str(self.repository.folder), "--branch", "main", "--allow-file"]

    def apply(self, what: str, machines: Sequence[Machine], meanwhile: Callable[[], None] = lambda: None) -> Round:
        """On all of them at once."""
        before = [len(machine.served()[0]) for machine in machines]
        self.relay.forget()
        began = time.monotonic()
        acting = threading.Thread(target=meanwhile)
        acting.start()
        codes = self.done(machines, ["apply", *self.follow])
        seconds = time.monotonic() - began
        acting.join()
        served = [machine.served() for machine in machines]
        wanted = self.wanted()
        one = Round(
            what=what,
            agents=len(machines),
            seconds=seconds,
            codes=codes,
            down=self.relay.down,
            peak=self.relay.peak,
            converged=sum(right == wanted for right, _ in served),
            wrong=sum(wrong for _, wrong in served),
        )
        self.rounds.append(one)
        print(one, flush=True)
        assert one.wrong == 0
        assert all(len(right) >= count for (right, _), count in zip(served, before, strict=True)), "what served is gone"
        return one

    def converge(self, what: str, machines: Sequence[Machine]) -> Round:
        """Round after round, as a daemon does: a busy machine may not hear from a registry in time. The first round."""
        first = one = self.apply(what, machines)
        while one.converged < len(machines):
            assert len(self.rounds) - self.rounds.index(first) < MOST_ROUNDS, self.logs(machines)
            print(self.logs(machines).strip().splitlines()[-1][:200])
            one = self.apply("... once more", machines)
        return first

    def logs(self, machines: Sequence[Machine]) -> str:
        """Of one that is not right."""
        wanted = self.wanted()
        late = next(machine for machine in machines if machine.served()[0] != wanted)
        return (late.folder / "log").read_text()[-3000:]

    def wanted(self) -> set[Served]:
        """From git alone, as a machine that has nothing reads it."""
        parsed = load(str(self.repository.folder / "manifests"))
        resolution = resolve(parsed, StampBook.empty(), cache=SourceCache(Layout(str(self.folder / "nothing"))))
        return {(one.release.recipe.build_key, one.release.template_origin) for one in resolution.desired.wanted}

    def done(self, machines: Sequence[Machine], arguments: Sequence[str], **more: str) -> dict[int, int]:
        """How many ended with each exit code."""
        running = []
        for machine in machines:
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "HOME": str(machine.folder),
                "GIT_CONFIG_GLOBAL": os.devnull,
                "RECONCILER_ROOT": str(machine.root),
                "RECONCILER_CACHE": str(machine.folder / "cache"),
                "RECONCILER_CONFIG": str(machine.folder / "machine.yaml")
                if (machine.folder / "machine.yaml").exists()
                else "",
                **machine.environment,
                **more,
            }
            log = (
                str(machine.folder / "log")
                if machine.folder != self.repository.folder
                else str(self.folder / "lock.log")
            )
            order = [list(arguments), environment, str(self.repository.folder), log]
            process = self._processes.Process(target=fleet_agent.run, args=order)
            process.start()
            running.append(process)
        codes: dict[int, int] = {}
        for process in running:
            process.join()
            codes[process.exitcode or 0] = codes.get(process.exitcode or 0, 0) + 1
        return codes

    def damaged(self, change: Callable[[bytes], bytes]) -> Callable[[], None]:
        """The newest artifact's weights on the registry's disk. Returns what mends them."""
        store = ArtifactStore(Layout(str(self.builder.root)), StampBook.empty())
        new = {key for key, _ in self.wanted()} - {key for key, _ in self.machines[0].served()[0]}
        artifact = store.artifacts()[min(new)]
        path = self.registry.blob(next(file.digest for file in artifact.files if file.path == WEIGHTS))
        whole = path.read_bytes()
        path.write_bytes(change(whole))
        return lambda: (path.write_bytes(whole), None)[1]

    def converted(self) -> int:
        """On all machines together."""
        events = [machine.root / "records" / "events.jsonl" for machine in (self.builder, *self.machines)]
        return sum(path.read_text().count('"convert.done"') for path in events if path.exists())


def number_story(fleet: Fleet) -> None:
    """All machines at once."""
    everyone, registry = fleet.machines, fleet.registry
    size = len(PRECISIONS) * SIZE
    fleet.begin()
    fleet.build()
    fleet.converge("from nothing", everyone)
    fleet.declare("phi3")
    template = fleet.converge("a template only", everyone)
    assert template.down / len(everyone) < 100_000

    fleet.declare(anew="m0")
    fleet.build()
    half = len(everyone) * size // 2
    killed = fleet.apply("the registry is killed in the middle", everyone, lambda: _killed(fleet, half))
    assert killed.converged < len(everyone)
    registry.start()
    before = len(fleet.rounds)
    fleet.converge("and is back", everyone)
    assert (
        killed.down + sum(one.down for one in fleet.rounds[before:]) < 1.5 * len(everyone) * size
    )  # what had come did not come again


def harm_story(fleet: Fleet, few: int) -> None:
    """`few` machines, whose connections and whose blobs are not as they should be."""
    some, relay = fleet.machines[:few], fleet.relay
    fleet.declare(anew="m0")
    fleet.build()
    relay.cut_after = 300_000
    fleet.converge("every connection is cut after 300 KB", some)
    relay.cut_after = 0
    fleet.declare(anew="m0")
    fleet.build()
    relay.pace = 500_000
    fleet.converge("0.5 MB a second for each", some)
    relay.pace = 0

    fleet.declare(anew="m0")
    fleet.build()
    for what, change in (("truncated", lambda data: data[:-1000]), ("swapped", lambda data: data[::-1])):
        mend = fleet.damaged(change)
        assert fleet.apply(f"a blob is {what} on the registry's disk", some).converged == 0
        mend()
    fleet.converge("and is right again", some)


def _killed(fleet: Fleet, after: int) -> None:
    wait_for(lambda: fleet.relay.down > after, seconds=300)
    fleet.registry.kill()


def token_story(fleet: Fleet, few: int) -> None:
    """Another registry, whose tokens count for a few requests only."""
    some = fleet.machines[:few]
    with FakeRegistry("token").running() as fake:
        fake.token_uses = 3
        login = fleet.folder / "login"
        canaries.file(login, "registry")  # where a secret may stand
        login.write_text(f"{USER}:{PASSWORD}")
        credentials = f", credentials: {{file: {login}}}"
        fleet.configure([fleet.builder], fake.origin, "local", "push", credentials)
        fleet.point(some, fake.origin, credentials)
        fleet.declare(anew="m0")
        fleet.build()
        fleet.converge("tokens expire after three requests", some)
        assert len(fake.tokens) > 2 * few
    fleet.configure([fleet.builder], fleet.registry.origin, "local", "push")


def trust_story(fleet: Fleet, few: int) -> None:
    some, origin = fleet.machines[:few], f"http://127.0.0.1:{fleet.relay.port}"
    keys = {name: key_pair(fleet.folder, name) for name in ("builder", "stranger", "successor")}

    def trusting(*names: str, revoked: str = "") -> None:
        listed = ", ".join(f"{{file: {keys[name][1]}}}" for name in names)
        rule = f'trust: [{{repository: "127.0.0.1:{fleet.relay.port}/*", keys: [{listed}]}}]\n'
        fleet.point(some, origin, more=rule + (f'revoked: ["{revoked}"]\n' if revoked else ""))

    def signed(name: str) -> None:
        fleet.declare(anew="m0")
        fleet.build("--signing-key", keys[name][0])

    trusting("builder")
    signed("stranger")
    assert fleet.apply("signed by another key", some).converged == 0
    signed("builder")
    fleet.converge("signed by the builder", some)
    signed("successor")
    assert fleet.apply("its key was rotated, and is not known yet", some).converged == 0
    trusting("builder", "successor")
    fleet.converge("and is known", some)
    signed("successor")
    new = {key for key, _ in fleet.wanted()} - {key for key, _ in some[0].served()[0]}
    trusting("successor", revoked=min(new))
    assert fleet.apply("a build is revoked", some).converged == 0
    assert all(min(new) not in {key for key, _ in machine.served()[0]} for machine in some)
    trusting("successor")
    fleet.converge("and is not any more", some)


def run(folder: Path, *, agents: int, few: int, models: int) -> Fleet:
    """`few` machines meet what is not about their number; with 0 that is left out. Raises AssertionError where anything
    is not as promised."""
    fleet = Fleet(folder, agents, models)
    fleet.registry.start()
    try:
        with fleet.hub.running(), fleet.relay.running():
            number_story(fleet)
            for story in (harm_story, token_story, trust_story) if few else ():
                story(fleet, few)
            assert fleet.converted() == len(PRECISIONS) * len(fleet.hub.repos)  # each once, on the builder
    finally:
        fleet.registry.kill()
    return fleet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--models", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fleet = run(Path(folder), agents=arguments.agents, few=arguments.few, models=arguments.models)
        print(f"{fleet.converted()} conversions, all by the builder")


if __name__ == "__main__":
    main()
