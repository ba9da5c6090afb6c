"""A model of the followed repository whose files Git LFS keeps, from a commit to what is served. The runtime and the
converter are stood in for; git, its server and the passes are real."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.sources.locked import GIT
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.host.stamps import StampBook
from reconciler.operations.repository import read_branch
from reconciler.sources.folder.model import inspect_source
from reconciler.sources.git.address import Remote
from reconciler.sources.git.runner import Credentials
from tests import canaries
from tests.crash.stand_ins import options
from tests.git_server import Repository, certificate
from tests.lfs_server import LfsServer, keep_by_lfs
from tests.machine import TestMachine

TOKEN = canaries.secret("git-lfs-pass")
WEIGHTS, TOKENIZER, CONFIG = "model.safetensors", "tokenizer.json", "config.json"


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A machine that follows a repository over https with a token."""

    machine: TestMachine
    server: LfsServer
    repository: Repository
    token_file: Path

    @property
    def url(self) -> str:
        return f"{self.server.url}/fleet/.git"

    def run_pass(self, **more: object) -> PassResult:
        machine = self.machine
        with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
            credentials = Credentials(token=TOKEN)
            parsed = read_branch(held, Remote(self.url, "main", "manifests"), credentials, accept=True).parsed
            files = {GIT: str(self.token_file)}
            return run_pass(held, parsed, Reporter(), options(token_files=files, **more))

    def plan(self) -> Any:
        return self._run("plan", "-o", "json")

    def bom(self) -> Any:
        return self._run("bom", "one")

    def _run(self, *words: str) -> Any:
        where = ("--repo", self.url, "--path", "manifests", "--token-file", str(self.token_file))
        done = self.machine.run(*words, *where)
        assert done.code in (0, 1), done.err
        return done.json()


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Followed]:
    held = certificate(tmp_path)
    token_file = tmp_path / "token"
    canaries.given(token_file, TOKEN)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(held))
    (tmp_path / "at").mkdir()
    with LfsServer(tmp_path, held, "x-access-token", TOKEN).running() as server:
        machine = TestMachine(folder=tmp_path / "at")
        (machine.folder / "fleet").mkdir()
        repository = Repository(tmp_path / "fleet")
        yield Followed(machine=machine, server=server, repository=repository, token_file=token_file)


def test_it_is_priced_fetched_and_served(followed: Followed, capitals: Path) -> None:
    """Nothing of it is known before it comes."""
    names = (WEIGHTS, TOKENIZER, CONFIG, "tokenizer_config.json")
    commit(followed, capitals, *names)
    expected = inspect_source(str(capitals), StampBook.empty())
    (fetch,) = followed.plan()["changes"]
    assert followed.server.lfs_requests == []  # priced without a network beyond git's own
    assert fetch["action"] == "fetch"
    assert fetch["cost"]["downloadBytes"] == sum(file.size for file in expected.files)
    result = followed.run_pass()
    assert result.converged
    assert [one.change.action for one in result.outcomes] == ["fetch", "convert", "verify", "register"]
    assert len(followed.server.asked("/objects/batch")) == len(names)
    (wanted,) = result.resolution.desired.wanted
    assert wanted.release.recipe.source == expected.digest  # of the same files, wherever they came from
    (folder,) = (one for one in (followed.machine.root / "sources" / "hub").iterdir() if len(one.name) == 64)
    assert {one.path: one.digest for one in expected.files} == digests(folder)
    assert [one["name"] for one in followed.bom()["components"] if one["name"] == "model"] == ["model"]
    # A commit that leaves the folder alone moves nothing, and one that takes the model away frees its files.
    followed.repository.write("manifests/README.md", "words")
    followed.repository.commit()
    assert followed.run_pass().outcomes == ()
    (followed.repository.folder / "manifests" / "one.yaml").unlink()
    followed.repository.commit()
    assert followed.run_pass(confirm=True).converged
    assert not folder.exists()
    assert len(followed.server.asked("/objects/batch")) == len(names)


def test_what_cannot_come_is_said_and_tried_again(followed: Followed, capitals: Path) -> None:
    """Of this one git has all but the weights."""
    commit(followed, capitals, WEIGHTS)
    kept, followed.server.objects = followed.server.objects, {}
    result = followed.run_pass()
    (outcome,) = result.failed
    assert (outcome.change.action, outcome.code, outcome.permanent) == ("fetch", "LfsLacks", False)
    assert "git lfs push" in outcome.hint
    followed.server.objects = kept
    assert followed.run_pass(retry=True).converged


def commit(followed: Followed, model: Path, *names: str) -> None:
    folder = followed.repository.folder / "model"
    shutil.copytree(model, folder)
    followed.server.objects |= keep_by_lfs(folder, *names)
    followed.repository.model("one")
    followed.repository.commit()


def digests(folder: Path) -> dict[str, str]:
    found = inspect_source(str(folder), StampBook.empty())
    return {one.path: one.digest for one in found.files}
