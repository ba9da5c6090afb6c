"""A support bundle: the state of this machine for someone who helps, in one archive of a few megabytes. Reads only.

It holds no manifest, template or weights. Every text is redacted: known secrets, strings that look like a secret, and
all of a URL but host and path. Redaction is a second line of defence, because no log and no record holds a secret.
The same state of a machine gives the same bytes.
"""

import contextlib
import gzip
import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Callable, Iterable, Mapping

from reconciler import __version__
from reconciler.backends.select import SERVING_TOOLS
from reconciler.conversion.toolchain import ADAPTER_TOOLS, TOOLS
from reconciler.engine.machine import Machine, observe, recall
from reconciler.engine.planning import take_snapshot
from reconciler.host import durable
from reconciler.host.disk_usage import bytes_below, disk_free, disk_total
from reconciler.host.facts import read_facts
from reconciler.host.places import installed_versions
from reconciler.manifests.parsed import Parsed
from reconciler.operations.report import reported_of
from reconciler.reports.checks import Diagnosis, doctor_view
from reconciler.reports.status import make_status
from reconciler.reports.view import plan_view
from reconciler.state.progress import scrub_progress

EVENTS = 500
LOGS, LOG_BYTES = 20, 64 << 10  # the newest files, and the end of each
TEXT_BYTES = 2 << 20  # of anything else
HIDDEN = "[hidden]"
_SECRET_URLS = ("NOTIFY", "COMMIT_STATUS_URL")
SHORTEST = 6  # characters: replacing a shorter one would hide unrelated text

_USER = re.compile(r"(?<=://)[^/\s\"'@]*@")
_QUERY = re.compile(r"(://[^\s\"'<>?#]*)[?#][^\s\"'<>]*")
_TOKENS = re.compile(
    r"\b(?:hf_|gh[opsur]_|github_pat_|glpat-|xox[abprs]-|sk-|AKIA|eyJ)[A-Za-z0-9_.-]{8,}"
    r"|(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9+/=_.-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
# Not followed by a slash: the path of a file that holds a secret is shown.
_NAMED = re.compile(r"(?i)((?:token|secret|password|passwd|api[_-]?key)[\"']?\s*[=:]\s*[\"']?)(?!/)[^\s\"',;}]{6,}")


def write_bundle(
    path: str,
    machine: Machine,
    found: Iterable[Diagnosis],
    settings: Mapping[str, str],
    secrets: Iterable[str],
    parse: Callable[[], Parsed] | None,
) -> list[str]:
    """Returns the names of its files. `parse` reads the manifests for the plan; None where there are none."""
    parts: dict[str, Callable[[], object]] = {
        "versions.json": _versions,
        "doctor.json": lambda: doctor_view(found),
        "status.json": lambda: _status(machine),
        # The whole address of a notification sink is often a secret.
        "config.json": lambda: {
            name: f"{value.partition('://')[0]}://{HIDDEN}" if name.endswith(_SECRET_URLS) else value
            for name, value in settings.items()
        },
        "disk.json": lambda: _disk(machine),
        "events.json": lambda: machine.records.events(limit=EVENTS),
    }
    if parse is not None:
        parts["plan.json"] = lambda: _plan(machine, parse)
    texts = {name: _text(part) for name, part in parts.items()} | _logs(machine.layout.logs)
    known = tuple(secrets)
    data = _packed({name: redacted(text, known).encode()[-TEXT_BYTES:] for name, text in texts.items()})
    durable.write_file(os.path.abspath(path), data, mode=0o600)
    return sorted(texts)


def _text(part: Callable[[], object]) -> str:
    """A part that fails is replaced by its error: bundles are made of broken machines."""
    try:
        value = part()
    except Exception as error:  # noqa: BLE001 - the other parts are needed all the more
        value = {"error": f"{type(error).__name__}: {error}"}
    return json.dumps(value, indent=1, sort_keys=True, default=str) + "\n"


def _versions() -> object:
    installed = installed_versions(sorted({*TOOLS, *SERVING_TOOLS, *ADAPTER_TOOLS}))
    facts = read_facts()
    system = {"os": facts.os, "arch": facts.arch, "cpus": facts.cpus, "memoryBytes": facts.memory_bytes}
    return {"reconciler": __version__, "python": sys.version, "system": system, "packages": installed}


def _status(machine: Machine) -> object:
    observed = observe(machine)
    recorded = recall(machine, observed)
    scrubbed, judged = scrub_progress(machine.layout).read(), machine.records.judged()
    return make_status(observed, recorded, machine.records.conditions(), scrubbed, judged, reported_of(machine))


def _plan(machine: Machine, parse: Callable[[], Parsed]) -> object:
    found = take_snapshot(machine, parse())
    return plan_view(found.plan, found.resolution.problems, found.resolution.warnings, found.resolution.policies)


def _disk(machine: Machine) -> object:
    root = machine.layout.root
    folders = ("oci", "served", "sources", "staging", "trash", "quarantine", "records", "logs")
    used = {name: bytes_below(machine.layout.at(name)) for name in folders}
    return {"freeBytes": disk_free(root), "totalBytes": disk_total(root), "usedBytes": bytes_below(root), "by": used}


def _logs(folder: str) -> dict[str, str]:
    paths = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        paths = [(entry.stat().st_mtime_ns, entry.path) for entry in entries if entry.is_file(follow_symlinks=False)]
    return {f"logs/{os.path.basename(path)}": _end_of(path) for _, path in sorted(paths, reverse=True)[:LOGS]}


def _end_of(path: str) -> str:
    """A line that the limit cuts is dropped, because it may begin with half of a secret."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            data = file.read(LOG_BYTES)
    except OSError as error:
        return f"cannot be read: {error.strerror}\n"
    return (data if size <= LOG_BYTES else data.partition(b"\n")[2]).decode("utf-8", "replace")


def _packed(files: Mapping[str, bytes]) -> bytes:
    """A reproducible archive: sorted, without times and owners."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(files):
            member = tarfile.TarInfo(f"reconciler-bundle/{name}")
            member.size, member.mode = len(files[name]), 0o600
            archive.addfile(member, io.BytesIO(files[name]))
    return packed.getvalue()


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    for secret in sorted({*secrets}, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    text = _TOKENS.sub(HIDDEN, _QUERY.sub(rf"\1?{HIDDEN}", _USER.sub("", text)))
    return _NAMED.sub(rf"\1{HIDDEN}", text)
