"""`doctor`: is this machine fit to be reconciled? What usually goes wrong around us, each with what to do. Reads only,
starts nothing but `git --version` and an empty cage, imports no runtime: versions are read from what is installed, not
from what runs.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from reconciler.backends.select import backend_at
from reconciler.conversion.toolchain import ADAPTER_TOOLS, SERVING_TOOLS, TOOLS
from reconciler.domain.errors import CatalogBroken, PermanentError, ReconcilerError
from reconciler.domain.facts import Traits
from reconciler.domain.layout import Layout
from reconciler.domain.units import size_text
from reconciler.engine.machine import NO_TRAITS
from reconciler.host.cage import ADVICE, CLOSED, CageMissing, find
from reconciler.host.clock import now, seconds_between
from reconciler.host.durable import is_temporary
from reconciler.host.facts import host_name, read_facts
from reconciler.host.lock import holder
from reconciler.host.owner import read_owner
from reconciler.host.usage import disk_free
from reconciler.manifests.selector import labels_of
from reconciler.reports.diagnosis import Diagnosis
from reconciler.sources.git import runner as git
from reconciler.state.records import Records
from reconciler.state.scrubbed import read_scrubbed

LITTLE, TOO_LITTLE = 5 << 30, 256 << 20  # bytes: a small conversion; what a pass over small models needs
LONG_AGO = 7 * 86_400.0  # seconds since every byte was read
OLDEST_GIT = (2, 30)  # `plan --repo` uses nothing newer
INSTALL = "pip install 'foundry-reconciler[all]'"


def examine(
    root: str, cache: str, home: str, file: str = "", traits: Traits = NO_TRAITS, cage_mode: str = "auto"
) -> Iterator[Diagnosis]:
    """In the order in which they matter. `home` is where other Foundry applications keep their caches, `file` the
    configuration that `traits` were read from; `cage_mode` is what conversions are made with."""
    layout = Layout(os.path.realpath(root))
    yield from _configuration(file, traits)
    yield from _caches(layout, cache, home)
    yield from _packages()
    yield from _disk(layout)
    yield from _permissions(layout, cache)
    yield _cage(cage_mode)
    yield _git()
    yield _clock(layout)
    yield from _lock_and_leftovers(layout, traits.quarantine_for)
    yield _scrubbed(layout)


def _configuration(file: str, traits: Traits) -> Iterator[Diagnosis]:
    yield _ok("config", file or "none: defaults, environment and flags")
    labels = labels_of(traits.name or host_name(), traits.labels, read_facts())
    yield _ok("labels", ", ".join(f"{key}={value}" for key, value in sorted(labels.items())))


def _ok(check: str, message: str) -> Diagnosis:
    return Diagnosis(check=check, level="ok", message=message)


def _warning(check: str, message: str, advice: str) -> Diagnosis:
    return Diagnosis(check=check, level="warning", message=message, advice=advice)


def _error(check: str, message: str, advice: str) -> Diagnosis:
    return Diagnosis(check=check, level="error", message=message, advice=advice)


def _caches(layout: Layout, cache: str, home: str) -> Iterator[Diagnosis]:
    """Each Foundry application sees one cache, its own: a model registered in another is not there for it."""
    try:
        owner = read_owner(layout)
    except PermanentError as error:
        owner = ""
        yield _error("cache", str(error), error.hint)
    yield _cache(cache, owner, "reconciler serves")
    for path in _other_caches(home):
        if os.path.realpath(path) != os.path.realpath(cache):
            yield _other_cache(path, owner, home)
    if _is_inside(layout.root, cache):
        advice = "choose another --root: Foundry Local sends the names that it finds in its cache to a public service"
        yield _error("cache", f"the root {layout.root} lies inside the cache {cache}", advice)


def _cache(cache: str, owner: str, who: str) -> Diagnosis:
    try:
        registrations = backend_at(cache).registrations()
    except CatalogBroken as error:
        return _error("cache", str(error), error.hint)
    ours = sum(bool(owner) and one.owner == owner for one in registrations)
    if not os.path.isdir(cache):
        return _ok("cache", f"{who} {cache} (made by the first apply)")
    return _ok("cache", f"{who} {cache}: {ours} model(s) of this root, {len(registrations) - ours} of others")


def _other_cache(path: str, owner: str, home: str) -> Diagnosis:
    app = os.path.relpath(path, home).split(os.sep)[0].removeprefix(".")
    found = _cache(path, owner, f"application {app} sees")
    if found.level == "ok" and owner and any(one.owner == owner for one in backend_at(path).registrations()):
        advice = f"they were made with --app {app}: use one cache for one root, and remove those that are not wanted"
        return _warning("cache", f"{found.message}: this root serves two caches", advice)
    return found


def _other_caches(home: str) -> list[str]:
    try:
        names = [name for name in sorted(os.listdir(home)) if name.startswith(".")]
    except OSError:
        return []
    caches = (os.path.join(home, name, "cache", "models") for name in names)
    return [path for path in caches if os.path.isfile(backend_at(path).index) or _has_models(path)]


def _has_models(path: str) -> bool:
    """Of an older Foundry Local, which finds models by looking through the folder."""
    try:
        return any(entry.is_dir() for entry in os.scandir(path))
    except OSError:
        return False


def _packages() -> Iterator[Diagnosis]:
    pins = {name: pin for name, pin in TOOLS.items() if not name.startswith("reconciler-")}
    for name, pin in (pins | SERVING_TOOLS | ADAPTER_TOOLS).items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = ""
        yield _package(name, pin, found)


def _package(name: str, pin: str, found: str) -> Diagnosis:
    needed_for = (
        "serving" if name in SERVING_TOOLS else "LoRA adapters" if name in ADAPTER_TOOLS else "converting"
    )
    if found.partition("+")[0] == pin:  # torch says 2.13.0+cpu
        return _ok("packages", f"{name} {found}")
    say = _warning if name in ADAPTER_TOOLS else _error
    state = f"is {found}, {pin} is tested" if found else "is not installed"
    return say("packages", f"{name} {state}: needed for {needed_for}", INSTALL)


def _disk(layout: Layout) -> Iterator[Diagnosis]:
    free = disk_free(layout.root)
    message = f"{size_text(free)} free for {layout.root}"
    advice = (
        "free some space, or choose another file system with --root; `plan` shows what a conversion needs"
    )
    if free < TOO_LITTLE:
        yield _error("disk", message, advice)
    elif free < LITTLE:
        yield _warning("disk", message, advice)
    else:
        yield _ok("disk", message)


def _permissions(layout: Layout, cache: str) -> Iterator[Diagnosis]:
    for name, path in (("root", layout.root), ("cache", cache)):
        yield _folder(name, path)
    for path in (layout.lock, layout.owner, backend_at(cache).index):
        if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
            advice = f"run reconciler as {_owner_of(path)}, or give the file to {_me()}"
            yield _error("permissions", f"{_me()} cannot write {path}", advice)


def _folder(name: str, path: str) -> Diagnosis:
    there = _nearest(path)
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        advice = f"run reconciler as {_owner_of(there)}, or choose another --{name}"
        return _error("permissions", f"{_me()} cannot write {there}, where the {name} is", advice)
    if there != path:
        return _ok("permissions", f"the {name} {path} does not exist yet and can be made")
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o022 and os.name != "nt":
        advice = f"chmod go-w {path}: whoever can write there decides what is served"
        return _warning("permissions", f"others can write the {name} {path} (mode {mode:o})", advice)
    seen = "others can list it" if mode & 0o005 == 0o005 else "only its owner and group can list it"
    return _ok("permissions", f"{_me()} can write the {name} {path}; {seen}")


def _cage(wish: str) -> Diagnosis:
    """Tried, not guessed: bubblewrap around our own interpreter, which does nothing."""
    try:
        found = find(wish)
    except CageMissing as error:
        return _error("cage", str(error), error.hint)
    if found.name in CLOSED:
        return _ok("cage", f"the converter's cage is {found.name}")
    if wish == "off":
        return _warning("cage", "the converter has no cage: it is switched off", "use --cage auto")
    what = (
        "reads foreign models with only its limits around it"
        if found.name == "limits"
        else "may reach the network"
    )
    return _warning("cage", f"the converter {what} (cage: {found.name}): {found.why}", ADVICE)


def _git() -> Diagnosis:
    try:
        found = git.program()
    except PermanentError:
        return _warning(
            "git", "git is not installed", "install git: --repo needs it, a folder of manifests does not"
        )
    try:
        said = git.version()
    except (OSError, git.GitFailed, ReconcilerError) as error:
        return _error("git", f"{found} does not run: {error}", "reinstall git")
    numbers = re.search(r"(\d+)\.(\d+)", said)
    if numbers is None or tuple(map(int, numbers.groups())) < OLDEST_GIT:
        return _warning("git", f"{said} is old", "install git 2.30 or newer, for --repo")
    return _ok("git", said)


def _clock(layout: Layout) -> Diagnosis:
    """Only compared with what this machine has written: nothing here asks the network."""
    time, newest = now(), max((str(e.get("time", "")) for e in Records(layout).events(limit=20)), default="")
    if newest > time:
        advice = "set the clock (timedatectl set-ntp true): signatures, suspensions and events go by it"
        return _warning("clock", f"it is {time}, but the newest event is of {newest}", advice)
    return _ok("clock", f"it is {time}, after the newest event" if newest else f"it is {time}")


def _lock_and_leftovers(layout: Layout, lives: float | None) -> Iterator[Diagnosis]:
    working = holder(layout.lock)
    yield _ok("lock", str(working or "no pass is at work"))
    for folder in ("staging", "trash"):
        names = _names(layout.at(folder))
        if names and not working:
            message = f"{len(names)} thing(s) in {layout.at(folder)} of a process that died"
            yield _warning("leftovers", message, "the next `reconciler apply` sweeps them")
    aside = [
        name
        for folder in ("records", "records/variants", "records/history", "records/suspended")
        for name in _names(layout.at(folder))
    ]
    aside = [name for name in aside if ".damaged-" in name]
    damaged = _damaged_records(layout)
    if damaged:
        advice = "the next `reconciler apply` sets them aside; `reconciler verify` looks at everything else"
        yield _warning("leftovers", f"records that cannot be trusted: {', '.join(damaged)}", advice)
    if aside:
        advice = f"look at them if you like to know why, then delete them from {layout.records}"
        yield _warning("leftovers", f"damaged records were set aside: {', '.join(aside)}", advice)
    kept = _names(layout.at("quarantine"))
    if kept:
        message = (
            f"{len(kept)} thing(s) that did not belong into served folders are in {layout.at('quarantine')}"
        )
        stays = (
            f"they go after {lives / 3600:g} h (quarantineFor)" if lives is not None else "nothing frees them"
        )
        yield _warning("leftovers", message, f"look at them, and take back what you want: {stays}")
    torn = [name for name in (*_names(layout.root), *_names(layout.records)) if is_temporary(name)]
    if torn and not working:
        message = f"{len(torn)} unfinished write(s)"
        yield _warning("leftovers", message, "the next `reconciler apply` sweeps them")


def _damaged_records(layout: Layout) -> list[str]:
    records = Records(layout)
    return [*records.load().damaged, *records.damaged_beside()]


def _scrubbed(layout: Layout) -> Diagnosis:
    scrubbed = read_scrubbed(layout)
    if scrubbed.last.ended and seconds_between(scrubbed.last.ended, now()) > LONG_AGO:
        advice = "let `reconciler run` scrub (--scrub-period), or run `reconciler apply --scrub` now and then"
        return _warning("scrub", str(scrubbed), advice)
    return _ok("scrub", str(scrubbed))


def _nearest(path: str) -> str:
    """The path, or the nearest folder above it that exists."""
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def _is_inside(path: str, folder: str) -> bool:
    return (os.path.realpath(path) + os.sep).startswith(os.path.realpath(folder) + os.sep)


def _me() -> str:
    return _user(os.geteuid()) if sys.platform != "win32" else os.environ.get("USERNAME", "this user")


def _owner_of(path: str) -> str:
    return _user(os.stat(path).st_uid) if sys.platform != "win32" else "its owner"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
