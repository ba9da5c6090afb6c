"""Compare the manifests of two commits of a local repository, without a checkout, a fetch or a machine.

The manifests may be untrusted: those of a pull request.
"""

from collections.abc import Sequence
from dataclasses import replace

from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model
from reconciler.domain.policy.policy import Policy
from reconciler.domain.sources.locked import GIT, LockedSource
from reconciler.domain.sources.source_model import SourceModel
from reconciler.engine.resolve import resolve_in
from reconciler.fleet.comparison import FleetComparison, Side, compare_sides
from reconciler.fleet.forecast import Outlook, outlook
from reconciler.fleet.inventory_form import read_inventories
from reconciler.manifests.documents.reading import FileReader
from reconciler.operations.templates import template_changes
from reconciler.sources.git.lfs import with_lfs_sources
from reconciler.sources.git.local import open_repository
from reconciler.sources.git.manifests_in_commit import CHECKOUT, InCommit, read_commit
from reconciler.sources.git.objects import Objects, Tree
from reconciler.sources.protocol import described, unseen


def compare_commits(
    folder: str,
    base: str,
    head: str,
    path: str,
    *,
    roots: tuple[str, ...] = (),
    parted: bool = False,
    exact: bool = False,
    policies: Sequence[Policy] = (),
) -> FleetComparison:
    """`path` is relative to the top of the repository that `folder` is in. `parted`: compare with the merge base, so
    that later commits of the base branch do not show. `exact`: read every byte of the sources, to get the digests that
    machines have for them. `policies` are those of this machine's configuration."""
    repository = open_repository(folder)
    old, new = repository.commit(base), repository.commit(head)
    if parted:
        old = repository.merge_base(old, new)
    with repository.objects() as objects:
        reading = _Reading(objects, path, roots, exact=exact, policies=policies)
        before, after = _or_empty(reading.side(base, old)), reading.side(head, new)
        templates = template_changes(before, after, reading.model_folders, reading.folders)
    return compare_sides(path, before, after, reading.sources, templates)


def outlooks(comparison: FleetComparison, folder: str, now: str) -> tuple[tuple[Outlook, ...], tuple[Problem, ...]]:
    """What each machine with an inventory in `folder` will do. The comparison must be exact."""
    inventories, problems = read_inventories(folder)
    base, head = comparison.base, comparison.head
    found = [outlook(one, file, base, head, now) for file, one in inventories.items()]
    return tuple(found), problems


class _Reading:
    """Reads once what both commits share. `sources` gives a readable name for the digest of each source; `folders` and
    `model_folders` are those of the commit that was read last."""

    def __init__(
        self, objects: Objects, path: str, roots: tuple[str, ...], *, exact: bool, policies: Sequence[Policy]
    ) -> None:
        self._objects, self._path, self._roots, self._exact = objects, path, roots, exact
        self._policies = policies
        self._seen: dict[str, SourceModel] = {}
        self._reader = FileReader()
        self.sources: dict[str, str] = {}

    def side(self, revision: str, commit: str) -> Side:
        tree = Tree(self._objects, commit)
        folders = self.folders = InCommit(tree, exact=self._exact, seen=self._seen)
        declared = read_commit(tree, self._path, self._roots, self._reader)
        parsed = with_lfs_sources(declared, tree, folders.at, "")
        self.model_folders = {model.name: model.source_path for model in declared.models}
        resolution = resolve_in(folders, parsed, policies=self._policies)
        return Side(
            revision=revision,
            commit=commit,
            models=tuple(_readable(model) for model in parsed.models),
            desired=resolution.desired,
            problems=resolution.problems,
            warnings=resolution.warnings,
            broken=parsed.broken,
            policies=resolution.policies,
            rollouts=parsed.rollouts,
            unknown=frozenset(model.name for model in parsed.models if not self._look(folders, model).known),
        )

    def _look(self, folders: InCommit, model: Model) -> SourceModel:
        if model.remote is not None and model.remote.kind == GIT:
            found = described(model.remote) or unseen(model.remote)
            self.sources[found.digest] = f"{model.remote.name} (tree {model.remote.revision[:12]})"
            return found
        if model.remote is not None:
            self.sources[model.remote.digest] = str(model.remote)
            return unseen(model.remote)
        source = folders.source(model.source_path, ready=model.ready)
        self.sources[source.digest] = _named(folders, model.source_path)
        return source


def _or_empty(base: Side) -> Side:
    """A base without the folder of manifests counts as empty: the head adds the first ones."""
    if base.problems and all(one.code == "PathMissing" and not one.field for one in base.problems):
        return replace(base, problems=(), desired=replace(base.desired, complete=True))
    return base


def _named(folders: InCommit, path: str) -> str:
    tree = folders.tree_of(path)
    return f"{_shown(path)} (tree {tree[:12]})" if tree else f"{_shown(path)} (not in this repository)"


def _readable(model: Model) -> Model:
    adapter = _shown(model.adapter_path) if model.adapter_path else None
    remote = replace(model.remote, files=(), upstream="") if model.remote is not None else None  # its digest is shown
    original = replace(model.original, files=(), upstream="") if model.original is not None else None
    return replace(
        model,
        source_path=_shown_folder(model.source_path, remote),
        remote=remote,
        adapter_path=adapter,
        original_path=_shown_folder(model.original_path, original),
        original=original,
    )


def _shown_folder(path: str, remote: LockedSource | None) -> str:
    """Also one of which Git LFS keeps files."""
    return remote.folder if remote is not None and remote.kind == GIT else _shown(path)


def _shown(path: str) -> str:
    """The path in the repository."""
    return path.removeprefix(CHECKOUT).lstrip("/\\") if path.startswith(CHECKOUT) else path
