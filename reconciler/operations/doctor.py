"""`doctor`: check the surroundings of a root; each finding comes with advice. Reads only.

It starts nothing but `git --version` and an empty cage, and imports no runtime: versions are those of the installed
packages.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace

from reconciler.backends.protocol import Backend
from reconciler.backends.select import BACKENDS, SERVING_TOOLS, backend_at, parts_of
from reconciler.conversion.memory import LEAST
from reconciler.conversion.toolchain import ADAPTER_TOOLS, TOOLS
from reconciler.domain.errors import CatalogBroken, PermanentError, ReconcilerError, RegistryFailed, UsageError
from reconciler.domain.layout import RECORDS, Layout
from reconciler.domain.machine.facts import StorageLimits, Traits, conversion_limit, provider_libraries
from reconciler.domain.machine.registries import REGISTRY_ONLY, ConvertMode, RegistrySettings
from reconciler.domain.machine.trust import OFF
from reconciler.domain.machine_report import ReportSettings
from reconciler.domain.text.quoting import count_of
from reconciler.domain.text.units import size_text
from reconciler.engine.machine import NO_TRAITS
from reconciler.host.cage import ADVICE, CLOSED, CageMissing, find
from reconciler.host.clock import now, seconds_between
from reconciler.host.disk_usage import bytes_below, disk_free
from reconciler.host.durable import is_temporary
from reconciler.host.facts import host_name, read_facts, serves_only
from reconciler.host.lock import holder
from reconciler.host.ownership import read_owner
from reconciler.host.places import install_command, installed_versions
from reconciler.host.reading import NotTrusted, is_readable_by_all, names_in
from reconciler.host.system import HAS_OWNERS, user_id, user_name
from reconciler.manifests.selector import labels_of
from reconciler.planner.plan_disk import budget_within
from reconciler.registry.credentials import logins_of
from reconciler.registry.signing_keys import KeyUnusable, VerificationKey
from reconciler.reports.checks import Diagnosis
from reconciler.sources.git import runner as git
from reconciler.sources.git.address import checked_url
from reconciler.state.progress import report_progress, scrub_progress
from reconciler.state.records import Records

LITTLE, TOO_LITTLE = 5 << 30, 256 << 20  # bytes: for a small conversion; for a pass over small models
LONG_AGO = 7 * 86_400.0  # seconds since the last complete scrub
OLDEST_GIT = (2, 30)  # `plan --repo` uses nothing newer
SWEEP = "the next `reconciler apply` removes them"
OR_SERVE = "or let this machine only serve, by `convert: registry-only` in its configuration"


def examine(
    root: str,
    cache: str,
    home: str,
    file: str = "",
    traits: Traits = NO_TRAITS,
    cage_mode: str = "auto",
    *,
    repository: str = "",
    allow_file: bool = False,
) -> Iterator[Diagnosis]:
    """Findings, the most important first. `home` holds the caches of other applications; `file` is the
    configuration that `traits` come from; `cage_mode` is the option --cage of conversions; `repository` is the URL of
    the repository that is followed, "" for none, and `allow_file` says whether it may be on this machine."""
    layout = Layout(os.path.realpath(root))
    yield from _configuration(file, traits)
    backend = backend_at(cache, traits.backends)
    yield from _caches(layout, backend, home)
    yield from map(_runtime, parts_of(backend))
    yield from _packages(traits.convert)
    yield from _provider_libraries(traits)
    yield _disk(layout, traits.limits)
    yield _memory(traits.conversion_memory)
    yield from _permissions(layout, backend)
    if traits.convert != REGISTRY_ONLY and converts():
        yield _cage(cage_mode)
    yield _git(follows=bool(repository))
    if repository:
        yield _repository(repository, allow_file)
    yield from map(_registry, traits.registries)
    yield from _trusted_keys(traits)
    yield _clock(layout)
    yield from _lock_and_leftovers(layout, traits.quarantine_for)
    yield _scrubbed(layout)
    if traits.reports is not None:
        yield _reported(layout, traits.reports)


def _configuration(file: str, traits: Traits) -> Iterator[Diagnosis]:
    yield Diagnosis("config", "ok", file or "none: defaults, environment and flags")
    labels = labels_of(traits.name or host_name(), traits.labels, read_facts())
    yield Diagnosis("labels", "ok", ", ".join(f"{key}={value}" for key, value in sorted(labels.items())))


def _provider_libraries(traits: Traits) -> Iterator[Diagnosis]:
    for name, path in provider_libraries(traits):
        if os.path.isfile(path):
            yield Diagnosis("providers", "ok", f"{name}: {path}; that it runs, the load gate proves")
        else:
            advice = "install it, or mend providerLibraries: models for it are held (ProviderMissing)"
            yield Diagnosis("providers", "warning", f"{name}: there is no file {path}", advice)


def _caches(layout: Layout, backend: Backend, home: str) -> Iterator[Diagnosis]:
    """Each application sees only its own cache, and none of the models registered in others."""
    try:
        owner = read_owner(layout)
    except PermanentError as error:
        owner = ""
        yield Diagnosis("cache", "error", str(error), error.hint)
    each = parts_of(backend)
    for one in each:
        yield _cache(one, owner, "reconciler serves" + (f" by {one.name}" if len(each) > 1 else ""))
    known = {os.path.realpath(one.catalog) for one in each}
    for kind in BACKENDS.values():
        for path in kind.catalogs_in(home):
            if os.path.realpath(path) not in known:
                known.add(os.path.realpath(path))
                yield _other_cache(kind(path), owner, home)
    for one in each:
        if (os.path.realpath(layout.root) + os.sep).startswith(os.path.realpath(one.catalog) + os.sep):
            advice = f"choose another --root: {one.root_inside_catalog}"
            yield Diagnosis("cache", "error", f"the root {layout.root} lies inside the cache {one.catalog}", advice)


def _cache(backend: Backend, owner: str, who: str) -> Diagnosis:
    cache = backend.catalog
    try:
        registrations = backend.registrations()
    except CatalogBroken as error:
        return Diagnosis("cache", "error", str(error), error.hint)
    ours = sum(bool(owner) and one.owner == owner for one in registrations)
    if not os.path.isdir(cache):
        return Diagnosis("cache", "ok", f"{who} {cache} (made by the first apply)")
    return Diagnosis(
        "cache", "ok", f"{who} {cache}: {count_of(ours, 'model')} of this root, {len(registrations) - ours} of others"
    )


def _other_cache(backend: Backend, owner: str, home: str) -> Diagnosis:
    app = os.path.relpath(backend.catalog, home).split(os.sep)[0].removeprefix(".")
    found = _cache(backend, owner, f"application {app} sees")
    if found.level == "ok" and owner and any(one.owner == owner for one in backend.registrations()):
        advice = f"they were made with --app {app}: use one cache for each root, and remove the other registrations"
        return Diagnosis("cache", "warning", f"{found.message}: this root serves two caches", advice)
    return found


def _runtime(backend: Backend) -> Diagnosis:
    """Which version measures what will serve, and whether it was proved."""
    found, proved = backend.sdk_version(), " and ".join(backend.proved)
    if found in backend.proved:
        return Diagnosis("runtime", "ok", f"{backend.name} is foundry-local-sdk {found}, which was proved")
    if found:
        advice = "it is used as it is, and the load gate judges each model in it; docs/runtimes.md says what was tried"
        message = f"{backend.name} is foundry-local-sdk {found}; proved was {proved}"
        return Diagnosis("runtime", "warning", message, advice)
    if backend.packages.keys() & installed_versions(backend.packages).keys():
        advice = "name a folder with its packages as `sdk` (docs/runtimes.md)"
        message = f"models of {backend.name} are rehearsed in our own Foundry Local, not in the one that serves them"
        return Diagnosis("runtime", "warning", message, advice)
    return Diagnosis(
        "runtime",
        "error",
        f"{backend.name} is not here: models can neither be rehearsed nor asked",
        install_command("all"),
    )


def converts() -> bool:
    """Whether any package is here that only converting needs: then the others are missed."""
    shared = {"onnxruntime", *SERVING_TOOLS}  # the first comes with Foundry Local's SDK
    return bool(installed_versions(sorted(TOOLS.keys() - shared)))


def _packages(convert: ConvertMode) -> Iterator[Diagnosis]:
    pins = {name: pin for name, pin in TOOLS.items() if not name.startswith("reconciler-")}
    pins |= SERVING_TOOLS | ADAPTER_TOOLS
    installed, able = installed_versions(pins), converts()
    if why := serves_only():
        advice = "build on another machine (`reconciler build`), and name its registry with role pull"
        yield Diagnosis("packages", "warning", f"this machine serves and does not convert: {why}", advice)
    elif convert == REGISTRY_ONLY:
        yield Diagnosis("packages", "ok", "this machine serves and does not convert: convert is registry-only")
    elif not able:
        message = "nothing that converts is installed: ready ONNX models are served, and what others built"
        yield Diagnosis("packages", "warning", message, f"{install_command('all')}; {OR_SERVE}")
    if convert == REGISTRY_ONLY or not able:  # the first also where `serves_only` says why
        pins = SERVING_TOOLS
    for name, pin in pins.items():
        found = installed.get(name, "")
        if found.partition("+")[0] == pin:  # torch has versions such as 2.13.0+cpu
            yield Diagnosis("packages", "ok", f"{name} {found}")
            continue
        needed_for = "serving" if name in SERVING_TOOLS else "LoRA adapters" if name in ADAPTER_TOOLS else "converting"
        state = f"is {found}, {pin} is tested" if found else "is not installed"
        level = "warning" if name in ADAPTER_TOOLS else "error"
        advice = install_command("all") if name in SERVING_TOOLS else f"{install_command('all')}; {OR_SERVE}"
        yield Diagnosis("packages", level, f"{name} {state}: needed for {needed_for}", advice)


def _disk(layout: Layout, limits: StorageLimits) -> Diagnosis:
    """What may still be written there. What limits leave is no error: a pass frees what is kept only to go back to."""
    used = bytes_below(layout.root) if limits.disk_quota is not None else 0
    free = disk_free(layout.root)
    left, words = budget_within(limits, free, used)
    message = f"{words}, for {layout.root}"
    little: float = LITTLE
    without = budget_within(replace(limits, disk_quota=None), free, used)[0]
    if limits.disk_quota is not None and without > LITTLE:
        little = min(LITTLE, limits.disk_quota / 10)  # the quota decides, and a small one is meant
    if left > little and free >= TOO_LITTLE:
        return Diagnosis("disk", "ok", message)
    advice = (
        "run `reconciler gc`, raise the limit, choose another file system with --root, or let a release go before its "
        "successor is built: `disk: {strategy: delete-then-build}` (docs/disk.md); `plan` shows what is needed"
    )
    return Diagnosis("disk", "error" if free < TOO_LITTLE else "warning", message, advice)


def _memory(configured: int) -> Diagnosis:
    """What a conversion may hold, and whether the smallest one could do with that."""
    total = read_facts().memory_bytes
    limit = conversion_limit(configured, total)
    if not limit:
        return Diagnosis("memory", "ok", "how much there is cannot be found out: no conversion is held back for it")
    message = f"a conversion may hold {size_text(limit)}"
    if limit < LEAST:
        advice = "raise conversionMemory" if configured else "convert on a machine with more memory"
        return Diagnosis("memory", "error", f"{message}, and the smallest needs {size_text(LEAST)}", advice)
    if 0 < total < limit:
        advice = "lower conversionMemory, or leave it out"
        return Diagnosis("memory", "warning", f"{message}, and there are {size_text(total)}", advice)
    return Diagnosis("memory", "ok", message)


def _permissions(layout: Layout, backend: Backend) -> Iterator[Diagnosis]:
    me = user_name(user_id())
    each = parts_of(backend)
    for name, path in (("root", layout.root), *(("cache", one.catalog) for one in each)):
        yield _folder(name, path, me)
    for path in (layout.lock, layout.owner, *(one.index for one in each)):
        if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
            advice = f"run reconciler as {user_name(os.stat(path).st_uid)}, or give the file to {me}"
            yield Diagnosis("permissions", "error", f"{me} cannot write {path}", advice)


def _folder(name: str, path: str, me: str) -> Diagnosis:
    there = _nearest(path)
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        advice = f"run reconciler as {user_name(os.stat(there).st_uid)}, or choose another --{name}"
        return Diagnosis("permissions", "error", f"{me} cannot write {there}, where the {name} is", advice)
    if there != path:
        return Diagnosis("permissions", "ok", f"the {name} {path} does not exist yet and can be made")
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if HAS_OWNERS and mode & 0o022:
        advice = f"chmod go-w {path}: who can write there controls what is served"
        return Diagnosis("permissions", "warning", f"others can write the {name} {path} (mode {mode:o})", advice)
    seen = "others can list it" if mode & 0o005 == 0o005 else "only its owner and group can list it"
    return Diagnosis("permissions", "ok", f"{me} can write the {name} {path}; {seen}")


def _cage(mode: str) -> Diagnosis:
    """By a trial: bubblewrap around a Python that does nothing."""
    try:
        found = find(mode)
    except CageMissing as error:
        return Diagnosis("cage", "error", str(error), error.hint)
    if found.name in CLOSED:
        return Diagnosis("cage", "ok", f"the converter's cage is {found.name}")
    if mode == "off":
        return Diagnosis("cage", "warning", "the converter has no cage: it is switched off", "use --cage auto")
    what = "has resource limits only" if found.name == "limits" else "may reach the network"
    return Diagnosis("cage", "warning", f"the converter {what} (cage: {found.name}): {found.why}", ADVICE)


def _git(*, follows: bool) -> Diagnosis:
    """`follows`: this machine follows a repository, and does nothing without git."""
    try:
        found = git.program()
    except PermanentError:
        if follows:
            advice = "install git, or follow a folder of manifests"
            return Diagnosis("git", "error", "git is not installed, and this machine follows a repository", advice)
        return Diagnosis(
            "git", "warning", "git is not installed", "install git: --repo needs it, a folder of manifests does not"
        )
    try:
        found_version = git.version()
    except (OSError, git.GitFailed, ReconcilerError) as error:
        return Diagnosis("git", "error", f"{found} does not run: {error}", "reinstall git")
    numbers = re.search(r"(\d+)\.(\d+)", found_version)
    if numbers is None or tuple(map(int, numbers.groups())) < OLDEST_GIT:
        return Diagnosis("git", "warning", f"{found_version} is old", "install git 2.30 or newer, for --repo")
    return Diagnosis("git", "ok", found_version)


def _repository(url: str, allow_file: bool) -> Diagnosis:
    """Whether its URL is one that is followed. It is not asked."""
    try:
        return Diagnosis("repository", "ok", f"follows {checked_url(url, allow_file=allow_file)}")
    except UsageError as error:
        return Diagnosis("repository", "error", f"the followed repository: {error}", error.hint)


def _registry(settings: RegistrySettings) -> Diagnosis:
    """What can be seen without asking it."""
    what = f"{settings.address} ({settings.role})"
    try:
        logins = logins_of(settings)
    except (RegistryFailed, NotTrusted) as error:
        return Diagnosis("registry", "error", f"{what}: {error}", error.hint)
    if settings.ca_file and not os.access(settings.ca_file, os.R_OK):
        advice = "caFile names a file with the certificate of the authority, in PEM form"
        return Diagnosis("registry", "error", f"{what}: {settings.ca_file} cannot be read", advice)
    if is_readable_by_all(settings.credentials_file):
        message = f"{what}: {settings.credentials_file} can be read by everybody on this machine"
        return Diagnosis("registry", "warning", message, f"chmod o-r {settings.credentials_file}")
    known = [one for one in (settings.address, *settings.mirrors) if one.host in logins]
    accounts = f"an account for {', '.join(one.host for one in known)}" if known else "no account"
    return Diagnosis("registry", "ok", f"{what}: {accounts}, {count_of(len(settings.mirrors), 'mirror')}")


def _trusted_keys(traits: Traits) -> Iterator[Diagnosis]:
    """Whether they can be used, and count today."""
    for rule in (*traits.trust.rules, *traits.trust.sources):
        for one in rule.keys if rule.mode != OFF else ():
            what = f"{rule.pattern} ({rule.mode})"
            try:
                key = VerificationKey(one.file)
            except KeyUnusable as error:
                yield Diagnosis("trust", "error", f"{what}: {error}", error.hint)
                continue
            named = f"{what}: {one.file} is {key.id}"
            if one.counts(now()):
                yield Diagnosis("trust", "ok", f"{named}, until {one.until}" if one.until else named)
            else:
                advice = "what it signed and is here stays; take it out if that is to be revoked"
                yield Diagnosis("trust", "warning", f"{named}, which counted until {one.until}", advice)


def _clock(layout: Layout) -> Diagnosis:
    """Compared with the newest event of this machine, without network."""
    time, newest = now(), max((str(e.get("time", "")) for e in Records(layout).events(limit=20)), default="")
    if newest > time:
        advice = "set the clock (timedatectl set-ntp true): signatures, suspensions and events depend on it"
        return Diagnosis("clock", "warning", f"it is {time}, but the newest event is of {newest}", advice)
    return Diagnosis("clock", "ok", f"it is {time}, after the newest event" if newest else f"it is {time}")


def _lock_and_leftovers(layout: Layout, keep: float | None) -> Iterator[Diagnosis]:
    working = holder(layout.lock)
    yield Diagnosis("lock", "ok", str(working or "no pass is at work"))
    for folder in ("staging", "trash"):
        names = names_in(layout.at(folder))
        if names and not working:
            message = f"{count_of(len(names), 'item')} in {layout.at(folder)} of a process that died"
            yield Diagnosis("leftovers", "warning", message, SWEEP)
    records = Records(layout)
    if damaged := [*records.load().damaged, *records.damaged_beside()]:
        advice = "the next `reconciler apply` sets them aside; `reconciler verify` looks at everything else"
        yield Diagnosis("leftovers", "warning", f"records that cannot be trusted: {', '.join(damaged)}", advice)
    aside = [name for folder in RECORDS for name in names_in(layout.at(folder)) if ".damaged-" in name]
    if aside:
        advice = f"find out why, then delete them from {layout.records}"
        yield Diagnosis("leftovers", "warning", f"damaged records were set aside: {', '.join(aside)}", advice)
    if kept := names_in(layout.at("quarantine")):
        message = f"{count_of(len(kept), 'foreign item')} from served folders in {layout.at('quarantine')}"
        stays = "they are never freed" if keep is None else f"they are freed after {keep / 3600:g} h (quarantineFor)"
        yield Diagnosis("leftovers", "warning", message, f"look at them, and take back what you need: {stays}")
    unfinished = [*filter(is_temporary, (*names_in(layout.root), *names_in(layout.records)))]
    if unfinished and not working:
        yield Diagnosis("leftovers", "warning", count_of(len(unfinished), "unfinished write"), SWEEP)


def _scrubbed(layout: Layout) -> Diagnosis:
    scrubbed = scrub_progress(layout).read()
    if scrubbed.last.ended and seconds_between(scrubbed.last.ended, now()) > LONG_AGO:
        advice = "let `reconciler run` scrub (--scrub-period), or run `reconciler apply --scrub` now and then"
        return Diagnosis("scrub", "warning", str(scrubbed), advice)
    return Diagnosis("scrub", "ok", str(scrubbed))


def _reported(layout: Layout, settings: ReportSettings) -> Diagnosis:
    found = report_progress(layout).read().of(settings.to)
    if found.why:
        advice = "`reconciler inventory --push` tries at once; docs/fleet.md says what the place wants"
        return Diagnosis("report", "warning", str(found), advice)
    if found.when and seconds_between(found.when, now()) > 2 * settings.every:
        return Diagnosis("report", "warning", str(found), "does `reconciler run` run here? It sends them")
    return Diagnosis("report", "ok", str(found))


def _nearest(path: str) -> str:
    """The path, or the nearest folder above it that exists."""
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path
