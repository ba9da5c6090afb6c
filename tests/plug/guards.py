"""What the states of a power cut rest on: each flush, and each two steps whose order is a promise. Without one of them
`scenarios` must leave a state that is wrong.

`# flush: NAME` and `# order: NAME 1/2` in the source say where they stand (tests/mutants/tags.py). A flush is left out,
and of two steps the second comes before the first; or the first comes after the second, in the words of `late`; or
what the words of `early` say comes before the first, and both stay.
What may come in any order, and why: docs/power-cuts.md.
"""

from dataclasses import dataclass

from tests.mutants.tags import Tag, named, without


@dataclass(frozen=True)
class Mutant:
    guard: str
    scenarios: str  # separated by spaces
    instead: str = ""
    late: str = ""
    early: str = ""

    @property
    def tags(self) -> list[Tag]:
        return named(self.guard, "flush", "order")

    @property
    def file(self) -> str:
        return self.tags[0].file

    @property
    def text(self) -> str:
        return without(self.tags, self.instead, self.late, self.early)


_ = Mutant

FLUSHES = (
    _("a new file", "suspend"),
    _("the files of what is published", "change-releases"),
    _("the folders of what is published", "change-releases"),
    _("all that is published", "fetch-hub change-releases"),
    _("a file that mends a folder", "repair-folder"),
    _("a file that is adopted", "change-recipe"),
    _("the folder that a name comes to", "change-releases"),
    _("the folder that a name goes from", "drop-source"),
    _("a folder, if asked for", "change-releases"),
    _("a file, if asked for", "change-releases"),
    _("the flush itself", "change-releases"),
    _("the folder of a new folder", "first-apply"),
    _("Foundry Local's catalog", "change-releases"),
    _("the folder of the catalog", "change-releases"),
    _("the folder above the catalog's", "first-apply", "os.makedirs(self.cache_dir, exist_ok=True)"),
    _("what git fetched", "fetch-git-again"),
)

ORDERS = (
    _("a file is flushed, then named", "suspend", late="_flush(path)"),
    _("a folder is flushed, then named", "fetch-hub", late="flush_below(final)"),
    _("a file that mends is flushed, then named", "repair-folder", late="_flush(destination)"),
    _(
        "a number is recorded, then seen",
        "change-releases",
        late="context.machine.records.save_number(marker.variant, marker.number)",
    ),
    _("a release is registered, then recorded", "change-releases", early="record_release(marker, context.machine)"),
    _("a release is registered, then in the history", "change-releases"),
    _("a successor is recorded, then its predecessor goes", "change-releases"),
    _("a name goes, then its folder", "change-releases"),
    _("a release goes, then its record", "prune"),
    _("a release goes, then it is retired in the history", "change-releases"),
    _("a predecessor is recorded, then its successor goes", "roll-back"),
    _("the reason is recorded, then the release goes", "roll-back"),
    _("a manifest is written, then listed", "change-recipe"),
    _("an artifact is unlisted, then its blobs go", "prune"),
    _("the facts of a source are written, then it is named", "fetch-hub"),
    _(
        "a marker is written elsewhere, then put in its place",
        "protect",
        "durable.write_file(os.path.join(path, MARKER), data, READ_ONLY)",
    ),
    _("a source that kept two names is freed under one", "fetch-hub-again"),
)

MUTANTS = (*FLUSHES, *ORDERS)
