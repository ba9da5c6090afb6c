"""What the package manager of Windows is told of a release: `python -m ci.winget VERSION URL SHA256 [FOLDER]`.

Writes the three files of a winget manifest (schema 1.28.0) below FOLDER (default: dist/winget). URL is a zip for x64
with reconciler\\reconciler.exe in it, and SHA256 its digest. There is no such release yet: packaging/README.md.
"""

import re
import sys
from pathlib import Path
from typing import Any

import yaml

IDENTIFIER = "FoundryReconciler.Reconciler"
SCHEMA = "1.28.0"
LOCALE = "en-US"
VERSION, ADDRESS, DIGEST = r"\d+(\.\d+){1,3}([a-z]+\d+)?", r"https://[^\s\"]+\.zip", r"[0-9a-fA-F]{64}"

USAGE = "usage: python -m ci.winget VERSION URL SHA256 [FOLDER]"


def manifests(version: str, url: str, sha256: str) -> dict[str, dict[str, Any]]:
    """File names with what they hold. Raises ValueError for what winget would not take."""
    for name, value, pattern in (("VERSION", version, VERSION), ("URL", url, ADDRESS), ("SHA256", sha256, DIGEST)):
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{name}: expected {pattern}, got {value!r}")
    return {
        f"{IDENTIFIER}.yaml": _document("version", version, {"DefaultLocale": LOCALE}),
        f"{IDENTIFIER}.installer.yaml": _document("installer", version, _installer(url, sha256)),
        f"{IDENTIFIER}.locale.{LOCALE}.yaml": _document("defaultLocale", version, _DESCRIPTION),
    }


def _document(kind: str, version: str, fields: dict[str, Any]) -> dict[str, Any]:
    head = {"PackageIdentifier": IDENTIFIER, "PackageVersion": version}
    return {**head, **fields, "ManifestType": kind, "ManifestVersion": SCHEMA}


def _installer(url: str, sha256: str) -> dict[str, Any]:
    """A portable program in a zip. git follows a repository, and onnxruntime needs Microsoft's C++ library."""
    needed = ("Git.Git", "Microsoft.VCRedist.2015+.x64")
    return {
        "Platform": ["Windows.Desktop"],
        "MinimumOSVersion": "10.0.17763.0",
        "InstallerType": "zip",
        "NestedInstallerType": "portable",
        "NestedInstallerFiles": [
            {"RelativeFilePath": "reconciler\\reconciler.exe", "PortableCommandAlias": "reconciler"}
        ],
        "ArchiveBinariesDependOnPath": True,
        "Commands": ["reconciler"],
        "Dependencies": {"PackageDependencies": [{"PackageIdentifier": one} for one in needed]},
        "Installers": [{"Architecture": "x64", "InstallerUrl": url, "InstallerSha256": sha256.upper()}],
    }


_DESCRIPTION = {
    "PackageLocale": LOCALE,
    "Publisher": "The reconciler authors",
    "PackageName": "reconciler",
    "License": "Apache-2.0",
    "ShortDescription": "GitOps for local AI models: what git declares is what Foundry Local serves.",
    "Moniker": "reconciler",
    "Tags": ["ai", "foundry-local", "gitops", "onnx"],
}


def write(folder: Path, version: str, url: str, sha256: str) -> list[Path]:
    """Into the folders that winget's repository has for them."""
    publisher, package = IDENTIFIER.split(".")
    target = folder / "manifests" / publisher[0].lower() / publisher / package / version
    files = manifests(version, url, sha256)
    target.mkdir(parents=True, exist_ok=True)
    for name, fields in files.items():
        kind = fields["ManifestType"]
        schema = f"# yaml-language-server: $schema=https://aka.ms/winget-manifest.{kind}.{SCHEMA}.schema.json\n"
        (target / name).write_text(schema + yaml.safe_dump(fields, sort_keys=False), encoding="utf-8", newline="\n")
    return [target / name for name in files]


def main(arguments: list[str]) -> int:
    if len(arguments) not in (3, 4):
        print(f"{__doc__}\n{USAGE}", file=sys.stderr)
        return 0 if arguments in (["--help"], ["-h"]) else 64
    version, url, sha256, *folder = arguments
    try:
        written = write(Path(*folder or ["dist", "winget"]), version, url, sha256)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 64
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
