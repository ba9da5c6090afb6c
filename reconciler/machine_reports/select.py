"""Which place a text names: `oci://host/repository`, `https://host/group/repository.git#branch` (or ssh), or a
folder."""

import os
from dataclasses import replace

from reconciler.domain.errors import UsageError
from reconciler.domain.machine.registries import RegistrySettings, read_address
from reconciler.domain.text.quoting import shown
from reconciler.machine_reports.folder import ReportFolder
from reconciler.machine_reports.place import ReportPlace
from reconciler.sources.git.address import Remote
from reconciler.sources.git.runner import Credentials

BRANCH = "reports"
OCI, OCI_HTTP = "oci://", "oci+http://"
FORMS = "a folder, oci://HOST/REPOSITORY, or the URL of a git repository with #BRANCH"


def open_place(
    where: str,
    *,
    registry: RegistrySettings | None = None,
    credentials: Credentials | None = None,
    folder: str = "",
    allow_file: bool = False,
) -> ReportPlace:
    """`registry` has the account and the certificate for oci://. `folder` is where a writer keeps what it needs; "" for
    a reader. Raises UsageError for what is no place."""
    if where.startswith((OCI, OCI_HTTP)):
        from reconciler.machine_reports.oci_tags import ReportTags

        return ReportTags(registry_settings(where, registry), folder)
    if is_git(where):
        from reconciler.machine_reports.git_branch import ReportBranch

        return ReportBranch(git_remote(where, allow_file), credentials or Credentials(), git_folder(folder))
    if not where or "://" in where:
        raise UsageError(f"expected {FORMS}, got {shown(where)}")
    return ReportFolder(os.path.abspath(where))


def is_git(where: str) -> bool:
    return where.startswith(("https://", "ssh://", "file://"))


def registry_settings(where: str, known: RegistrySettings | None) -> RegistrySettings:
    """`oci+http://` is for a registry on this machine. Raises UsageError."""
    scheme = "http" if where.startswith(OCI_HTTP) else "https"
    address = read_address(f"{scheme}://{where.partition('://')[2]}")
    if address is None or not address.is_private:
        hint = "as in oci://ghcr.io/acme/fleet; oci+http:// is for a registry on this machine"
        raise UsageError(f"expected a registry and a repository, in lower case, got {shown(where)}", hint=hint)
    if known is None:
        return RegistrySettings(address=address)
    return replace(known, address=address, mirrors=())


def git_remote(where: str, allow_file: bool) -> Remote:
    url, _, branch = where.partition("#")
    return Remote(url, branch or BRANCH, ".", allow_file=allow_file)


def git_folder(folder: str) -> str:
    return os.path.join(folder, "reports.git") if folder else ""
