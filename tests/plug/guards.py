"""What the states of a power cut rest on: each flush, with what takes it out, and each two steps whose order is a
promise, with what swaps them. `scenarios` must then leave a state that is wrong. Every text stands once in its file.

What may come in any order, and why: docs/power-cuts.md.
"""

from __future__ import annotations

from dataclasses import dataclass

Edit = tuple[str, str]  # what stands there, and what stands there instead


@dataclass(frozen=True)
class Mutant:
    guard: str
    file: str
    scenarios: str  # separated by spaces
    edits: tuple[Edit, ...]

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").replace("/", ".")

    def applied(self, text: str) -> str:
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.guard}: this is not in {self.file} (once): {old}")
            text = text.replace(old, new)
        return text


def _(guard: str, file: str, scenarios: str, *edits: Edit) -> Mutant:
    return Mutant(guard, f"reconciler/{file}", scenarios, edits)


def _gone(text: str) -> Edit:
    return text, ""


def _before(mark: str, text: str) -> Edit:
    return mark, text + mark


def _after(mark: str, text: str) -> Edit:
    return mark, mark + text


def _swapped(first: str, second: str) -> Edit:
    return first + second, second + first


_DURABLE, _CARRY, _STORE = "host/durable.py", "engine/executor.py", "store/artifact_store.py"
_FOUNDRY, _SHELF = "backends/foundry/foundry.py", "sources/hub/cache.py"

# host/durable.py
_FLUSH_NEW = '            _step("flush")\n            os.fsync(descriptor)\n'
_FLUSH_FILES = "    for file in _regular_files_below(path):\n        _flush(file)\n"
_FLUSH_FOLDERS = "    for folder, _, _ in os.walk(path, topdown=False):\n        flush_folder(folder)\n"
_FLUSH_A_FILE = "    _flush(path)\n\n\ndef flush_folder"
_FLUSH_A_FOLDER = '        _flush(path or ".", os.O_RDONLY | os.O_DIRECTORY)\n'
_FLUSH_ITSELF = "        os.fsync(descriptor)\n    finally:\n"
_FLUSH_MENDING = "            _flush(source)\n"
_MOVE_MENDING = "            (move or rename)(source, destination)\n"
_SEAL = '            _step("seal")\n'
_FLUSH_DESTINATION = "    flush_folder(os.path.dirname(destination))\n"
_FLUSH_SOURCE = "        flush_folder(os.path.dirname(source))\n"
_NAME_WRITTEN = "            rename(temporary, path)\n"
_FLUSH_STAGED = "        flush_below(staged)\n"
_NAME_PUBLISHED = "        rename(staged, final)\n"

# engine/executor.py
_EXECUTED = "    context.machine.records."
_SAVE_NUMBER = """    machine.records.save_number(
        change.variant, change.number
    )  # before anybody can see it: it is never given again
"""
_REGISTER = "    with _refusals_of_the_catalog():\n        context.workers.serving.register("
_RECORD_SERVED = "    record_served(marker, context.wanted(marker.variant).release, context.machine)\n"
_REMEMBERED = "    _remember(marker, release, machine)\n"
_RECORD_RELEASE = "    record_release(marker, context.machine)\n"
_UNREGISTER = "    if entry is not None:\n        context.workers.serving.unregister(identity)\n"
_AFTER_REMOVAL = "    machine.records.save_number(variant, number)\n    _require_gone("
_FORGET = f"{_EXECUTED}forget_release(change.variant)\n"
_PRUNE = "def _prune(change: PruneVariant, context: PassContext) -> None:\n"
_GO_BACK = (
    "    if serves and serves < change.number:\n"
    "        _serves_again(change.variant, serves, context.machine)\n"
)
_TAKE_BACK = (
    "    if why:  # while the plan knows it: once its name is gone, nobody plans to retire it again\n"
    "        remember_taken_back(change.variant, change.number, context.machine, why)\n"
)
_REMOVE = "    _remove_release(change.variant, change.number, context)\n"
_RETIRED = "    remember_retired(change.variant, change.number, context.machine, serving=serves)\n"

# store/artifact_store.py
_WRITE_MANIFEST = "[self._put_bytes(data) for data in (config, manifest)]"
_LIST = "        self._write_index({**held, build_key: packed})\n"
_UNLIST = "            self._write_index(held, gone=build_key)\n            return self._sweep(held)\n"
_UNLIST_LATE = (
    "            freed = self._sweep(held)\n"
    "            self._write_index(held, gone=build_key)\n"
    "            return freed\n"
)

# sources/hub/cache.py
_WITHOUT_PROBLEMS = "        if (\n            not model.problems\n"
_NAME_SOURCE = "        durable.publish(partial, folder)\n"

# backends/foundry/foundry.py
_FOLDER_OF_CATALOG = "        durable.make_folder(self._cache_dir)\n"

FLUSHES = (
    _("a new file", _DURABLE, "suspend", _gone(_FLUSH_NEW)),
    _("the files of what is published", _DURABLE, "change-releases", _gone(_FLUSH_FILES)),
    _("the folders of what is published", _DURABLE, "change-releases", _gone(_FLUSH_FOLDERS)),
    _("all that is published", _DURABLE, "fetch-hub change-releases", _gone(_FLUSH_STAGED)),
    _(
        "a file that mends a folder",
        _DURABLE,
        "repair-folder",
        (_FLUSH_MENDING + _MOVE_MENDING, _MOVE_MENDING),
    ),
    _("a file that is adopted", _DURABLE, "change-recipe", (_FLUSH_MENDING + _SEAL, _SEAL)),
    _("the folder that a name comes to", _DURABLE, "change-releases", _gone(_FLUSH_DESTINATION)),
    _("the folder that a name goes from", _DURABLE, "drop-source", (_FLUSH_SOURCE, "        pass\n")),
    _("a folder, if asked for", _DURABLE, "change-releases", (_FLUSH_A_FOLDER, "        pass\n")),
    _("a file, if asked for", _DURABLE, "change-releases", (_FLUSH_A_FILE, "    pass\n\n\ndef flush_folder")),
    _("the flush itself", _DURABLE, "change-releases", (_FLUSH_ITSELF, "        pass\n    finally:\n")),
    _("the folder of a new folder", _DURABLE, "first-apply", _gone("        flush_folder(parent)\n")),
    _(
        "Foundry Local's catalog",
        _FOUNDRY,
        "change-releases",
        _gone("            durable.flush_file(index)\n"),
    ),
    _(
        "the folder of the catalog",
        _FOUNDRY,
        "change-releases",
        _gone("            durable.flush_folder(self._cache_dir)\n"),
    ),
    _(
        "the folder above the catalog's",
        _FOUNDRY,
        "first-apply",
        (_FOLDER_OF_CATALOG, "        os.makedirs(self._cache_dir, exist_ok=True)\n"),
    ),
    _(
        "what git fetched",
        "sources/git/mirror.py",
        "fetch-git-again",
        _gone('        durable.flush_below(os.path.join(self.folder, "objects"))\n'),
    ),
)

ORDERS = (
    _(
        "a file is flushed, then named",
        _DURABLE,
        "suspend",
        _gone(_FLUSH_NEW),
        _after(_NAME_WRITTEN, "            _flush(path)\n"),
    ),
    _(
        "a folder is flushed, then named",
        _DURABLE,
        "fetch-hub",
        _gone(_FLUSH_STAGED),
        _after(_NAME_PUBLISHED, "        flush_below(final)\n"),
    ),
    _(
        "a file that mends is flushed, then named",
        _DURABLE,
        "repair-folder",
        (_FLUSH_MENDING + _MOVE_MENDING, _MOVE_MENDING + "            _flush(destination)\n"),
    ),
    _(
        "a number is recorded, then seen",
        _CARRY,
        "change-releases",
        _gone(_SAVE_NUMBER),
        _before(_RECORD_SERVED, "    machine = context.machine\n" + _SAVE_NUMBER.replace("change", "marker")),
    ),
    _(
        "a release is registered, then recorded",
        _CARRY,
        "change-releases",
        _before(_REGISTER, _RECORD_RELEASE),
    ),
    _(
        "a release is registered, then in the history",
        _CARRY,
        "change-releases",
        (_RECORD_SERVED, _RECORD_RELEASE),
        _before(_REGISTER, _RECORD_SERVED),
    ),
    _(
        "a successor is recorded, then its predecessor goes",
        "engine/history_writer.py",
        "change-releases",
        (_REMEMBERED + "    record_release(marker, machine)\n", _REMEMBERED),
    ),
    _(
        "a name goes, then its folder",
        _CARRY,
        "change-releases",
        _gone(_UNREGISTER),
        _before(_AFTER_REMOVAL, _UNREGISTER),
    ),
    _("a release goes, then its record", _CARRY, "prune", _gone(_FORGET), _after(_PRUNE, _FORGET)),
    _(
        "a release goes, then it is retired in the history",
        _CARRY,
        "change-releases",
        _swapped(_REMOVE, _RETIRED),
    ),
    _(
        "a predecessor is recorded, then its successor goes",
        _CARRY,
        "roll-back",
        _gone(_GO_BACK),
        _after(_REMOVE, _GO_BACK),
    ),
    _(
        "it is said why a release goes, then it goes",
        _CARRY,
        "roll-back",
        _swapped(_TAKE_BACK, _REMOVE),
    ),
    _(
        "a manifest is written, then listed",
        _STORE,
        "change-recipe",
        (f"digest = {_WRITE_MANIFEST}[-1]", "digest = digests.of_bytes(manifest)"),
        _after(_LIST, f"        {_WRITE_MANIFEST}\n"),
    ),
    _("an artifact is unlisted, then its blobs go", _STORE, "prune", (_UNLIST, _UNLIST_LATE)),
    _(
        "the facts of a source are written, then it is named",
        _SHELF,
        "fetch-hub",
        _gone(_NAME_SOURCE),
        _before(_WITHOUT_PROBLEMS, _NAME_SOURCE),
    ),
    _(
        "a marker is written elsewhere, then put in its place",
        "backends/foundry/folder.py",
        "protect",
        (", READ_ONLY, staging=staging)", ", READ_ONLY)"),
    ),
    _(
        "a source that kept two names is freed under one",
        _SHELF,
        "fetch-hub-again",
        ("            if os.path.lexists(os.path.join(self.home, name)):\n", "            if False:\n"),
    ),
)

MUTANTS = (*FLUSHES, *ORDERS)
