"""The manifest that `ci.winget` fills in, held against what winget asks of one."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ci.winget import IDENTIFIER, main, manifests

VERSION, URL, DIGEST = "0.1.0", "https://host.example/reconciler-0.1.0-x64.zip", "a1" * 32


def text(longest: int, pattern: str = "") -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern}


def all_of(required: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Also closed, which winget's own schema is not: a misspelt field would be dropped."""
    known = required | more
    return {"type": "object", "properties": known, "required": list(required), "additionalProperties": False}


# Written after winget's JSON schemas 1.28.0 (schemas/JSON/manifests in github.com/microsoft/winget-cli at fa3d9e5), of
# which it holds what we use. The files were valid by those, too.
WORD = r"^[^\\/:*?\"<>|\x01-\x1f\s]+$"
LANGUAGE = text(20, "^[a-zA-Z]{2,3}(-[a-zA-Z]{1,8})*$")
IDENTIFIERS = text(128, r"^[^.\s\\/:*?\"<>|]{1,32}(\.[^.\s\\/:*?\"<>|]{1,32}){1,7}$")
HEAD = {
    "PackageIdentifier": IDENTIFIERS,
    "PackageVersion": text(128, WORD),
    "ManifestVersion": text(20, r"^\d+\.\d+\.\d+$"),
}
NESTED = all_of({"RelativeFilePath": text(512)}, PortableCommandAlias=text(40))
INSTALLER = all_of(
    {
        "Architecture": {"enum": ["x86", "x64", "arm", "arm64", "neutral"]},
        "InstallerUrl": text(2048, "^https?://.+$"),
        "InstallerSha256": text(64, "^[A-Fa-f0-9]{64}$"),
    }
)
SCHEMAS = {
    "version": all_of(HEAD | {"ManifestType": {"const": "version"}, "DefaultLocale": LANGUAGE}),
    "installer": all_of(
        HEAD
        | {"ManifestType": {"const": "installer"}, "Installers": {"type": "array", "items": INSTALLER, "minItems": 1}},
        Platform={"items": {"enum": ["Windows.Desktop", "Windows.Universal"]}},
        MinimumOSVersion=text(40, r"^\d+(\.\d+){0,3}$"),
        InstallerType={"enum": ["msix", "msi", "appx", "exe", "zip", "inno", "nullsoft", "wix", "burn", "portable"]},
        NestedInstallerType={"enum": ["msix", "msi", "appx", "exe", "inno", "nullsoft", "wix", "burn", "portable"]},
        NestedInstallerFiles={"type": "array", "items": NESTED},
        ArchiveBinariesDependOnPath={"type": "boolean"},
        Commands={"type": "array", "items": text(40), "maxItems": 16, "uniqueItems": True},
        Dependencies=all_of({"PackageDependencies": {"items": all_of({"PackageIdentifier": IDENTIFIERS})}}),
    ),
    "defaultLocale": all_of(
        HEAD
        | {"ManifestType": {"const": "defaultLocale"}, "PackageLocale": LANGUAGE, "Publisher": text(256)}
        | {"PackageName": text(256), "License": text(512), "ShortDescription": text(256)},
        Moniker=text(40),
        Tags={"type": "array", "items": text(40), "maxItems": 16, "uniqueItems": True},
    ),
}


def test_the_three_files_are_what_winget_asks_for(tmp_path: Path) -> None:
    assert main([VERSION, URL, DIGEST, str(tmp_path)]) == 0
    found = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("*.yaml")]
    assert sorted(one["ManifestType"] for one in found) == sorted(SCHEMAS)
    for one in found:
        jsonschema.Draft7Validator(SCHEMAS[one["ManifestType"]]).validate(one)
    folder = tmp_path / "manifests" / "f" / "FoundryReconciler" / "Reconciler" / VERSION
    assert {path.parent for path in tmp_path.rglob("*.yaml")} == {folder}


def test_what_is_given_stands_in_them() -> None:
    files = manifests(VERSION, URL, DIGEST)
    [installer] = files[f"{IDENTIFIER}.installer.yaml"]["Installers"]
    assert (installer["InstallerUrl"], installer["InstallerSha256"]) == (URL, DIGEST.upper())
    assert {one["PackageVersion"] for one in files.values()} == {VERSION}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("next", URL, DIGEST), "VERSION"),
        ((VERSION, "http://host.example/a.zip", DIGEST), "URL"),
        ((VERSION, URL, "a1"), "SHA256"),
        ((VERSION, URL), "usage"),
    ],
)
def test_what_winget_would_refuse_is_refused_here(
    arguments: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(arguments)) == 64
    assert named in capsys.readouterr().err
