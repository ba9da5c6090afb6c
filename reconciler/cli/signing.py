"""The options of verbs that sign, and the key that they name."""

import argparse
import os

from reconciler.cli import options
from reconciler.cli.output import note
from reconciler.host.reading import is_readable_by_all
from reconciler.registry.signing_keys import PASSPHRASE_VARIABLE, SigningKey


def add_signing_key(parser: argparse.ArgumentParser, meaning: str) -> None:
    options.add_setting(parser, "--signing-key", meaning, metavar="FILE")
    passphrase = f"the key's passphrase; or the passphrase itself in {PASSPHRASE_VARIABLE}"
    options.add_setting(parser, "--signing-passphrase-file", passphrase, metavar="FILE")


def signing_key(arguments: argparse.Namespace) -> SigningKey | None:
    """Before anything is done that is to be signed. Raises KeyUnusable."""
    if not arguments.signing_key:
        return None
    passphrase = arguments.signing_passphrase_file
    for path in filter(None, (arguments.signing_key, passphrase)):
        if is_readable_by_all(path):
            note(arguments, f"warning: {path} can be read by everybody on this machine: chmod o-r {path}")
    return SigningKey(os.path.abspath(arguments.signing_key), os.path.abspath(passphrase) if passphrase else "")
