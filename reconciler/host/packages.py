"""Where this package lies, and versions of installed Python packages, without importing them."""

import contextlib
import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import reconciler

# The package's own folder, and the one that holds it: the top of a checkout, or site-packages.
PACKAGE = os.path.dirname(os.path.abspath(reconciler.__file__))
IMPORT_ROOT = os.path.dirname(PACKAGE)


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """By package, of those that are installed."""
    found: dict[str, str] = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
