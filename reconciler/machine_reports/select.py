"""Which place a text names: `oci://host/repository`, `https://host/group/repository.git#branch` (or ssh), or a
folder."""

import os
from collections.abc import Sequence
from dataclasses import replace

from reconciler.domain.errors import PermanentError, UsageError
from reconciler.domain.machine.registries import RegistrySettings, read_address
from reconciler.domain.machine_report import ReportSettings
from reconciler.domain.text.quoting import shown
from reconciler.host.reading import read_whole
from reconciler.machine_reports.folder import ReportFolder
from reconciler.machine_reports.place import ReportPlace
from reconciler.sources.git.address import Remote
from reconciler.sources.git.runner import Credentials

BRANCH = "reports"
LONGEST_TOKEN = 4096  # bytes
OCI, OCI_HTTP = "oci://", "oci+http://"
FORMS = "a folder, oci://HOST/REPOSITORY, or the URL of a git repository with #BRANCH"


def open_place(
    settings: ReportSettings,
    registries: Sequence[RegistrySettings] = (),
    git: Credentials | None = None,
    folder: str = "",
) -> ReportPlace:
    """`registries` are others of this machine: one on the same host lends its account. `git` are credentials of the
    same server, where there are any. `folder` is where a writer keeps what it needs; "" for a reader. Raises UsageError
    for what is no place, and PermanentError for a file without a token."""
    where = settings.to
    if where.startswith((OCI, OCI_HTTP)):
        from reconciler.machine_reports.oci_tags import ReportTags

        return ReportTags(_registry(settings, registries), folder)
    if is_git(where):
        from reconciler.machine_reports.git_branch import ReportBranch

        url, _, branch = where.partition("#")
        remote = Remote(url, branch or BRANCH, ".", allow_file=settings.allow_file)
        kept = os.path.join(folder, "reports.git") if folder else ""
        return ReportBranch(remote, _credentials(settings, git or Credentials()), kept)
    if not where or "://" in where:
        raise UsageError(f"expected {FORMS}, got {shown(where)}")
    return ReportFolder(os.path.abspath(where))


def is_git(where: str) -> bool:
    return where.startswith(("https://", "ssh://", "file://"))


def _registry(settings: ReportSettings, registries: Sequence[RegistrySettings]) -> RegistrySettings:
    """With its own account, else that of a registry on the same host. Raises UsageError."""
    where = settings.to
    scheme = "http" if where.startswith(OCI_HTTP) else "https"
    address = read_address(f"{scheme}://{where.partition('://')[2]}")
    if address is None or not address.is_private:
        hint = "as in oci://ghcr.io/acme/fleet; oci+http:// is for a registry on this machine"
        raise UsageError(f"expected a registry and a repository, in lower case, got {shown(where)}", hint=hint)
    if settings.credentials_file or settings.credentials_variable or settings.ca_file:
        return RegistrySettings(
            address=address,
            credentials_file=settings.credentials_file,
            credentials_variable=settings.credentials_variable,
            ca_file=settings.ca_file,
        )
    known = next((one for one in registries if one.address.host == address.host), RegistrySettings(address=address))
    return replace(known, address=address, mirrors=())


def _credentials(settings: ReportSettings, git: Credentials) -> Credentials:
    if settings.token_file or settings.ssh_key:
        token = _token(settings.token_file) if settings.token_file else ""
        return Credentials(token=token, ssh_key=settings.ssh_key, known_hosts=settings.known_hosts or git.known_hosts)
    return Credentials(token=git.token, ssh_key=git.ssh_key, known_hosts=settings.known_hosts or git.known_hosts)


def _token(path: str) -> str:
    """It is never shown."""
    try:
        token = read_whole(path, LONGEST_TOKEN).decode().strip()
    except (OSError, ValueError):
        token = ""
    if not token or not token.isprintable():
        raise PermanentError(f"{path} holds no token", hint="one line of printable characters", code="ReportsToken")
    return token
