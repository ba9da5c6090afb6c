"""What a machine signs: an in-toto statement about the bytes of its report, in a sigstore bundle, as builders sign and
as cosign reads it (registry.bundle). Receipts of `import` have the same form."""

import base64
import binascii
from dataclasses import dataclass

from reconciler.domain import digest as digests
from reconciler.domain.machine.trust import STATEMENT
from reconciler.fleet.inventory import Inventory
from reconciler.host.codec import Misformed, as_mapping, parse_json
from reconciler.registry import bundle, provenance
from reconciler.registry.signing_keys import SigningKey

REPORT = "https://reconciler.foundry/report/v1"
RECEIPT = "https://reconciler.foundry/receipt/v1"
KINDS = (REPORT, RECEIPT)
LARGEST_KEY = 1024  # bytes in DER form


class NotAStatement(ValueError):
    """In words that say what is wrong."""


@dataclass(frozen=True, kw_only=True)
class ReportStatement:
    """`digests` are those of what it is about. `public` is the key that the machine calls its own, in DER form: it is
    believed on first use only."""

    digests: tuple[str, ...]
    public: bytes = b""


def sign_report(data: bytes, name: str, inventory: Inventory, key: SigningKey) -> bytes:
    """A bundle about the report in `data`, which is called `name` where it goes."""
    facts = {
        "machine": inventory.machine,
        "generated": inventory.generated,
        "counter": inventory.counter,
        "publicKey": base64.b64encode(key.public).decode(),
    }
    return bundle.sign(provenance.statement(name, digests.of_bytes(data), REPORT, facts), key)


def read_statement(payload: bytes) -> ReportStatement:
    """Raises NotAStatement."""
    try:
        statement = as_mapping(parse_json(payload, bundle.LIMIT))
        kind = statement["predicateType"]
        # guard: only a statement about a report counts
        if statement["_type"] != STATEMENT or kind not in KINDS:
            raise NotAStatement("what is signed is no statement about a report")
        subjects = tuple(f"sha256:{one['digest']['sha256']}" for one in statement["subject"])
        public = str(statement["predicate"].get("publicKey", ""))[: 2 * LARGEST_KEY]
        return ReportStatement(digests=subjects, public=base64.b64decode(public, validate=True))
    except NotAStatement:
        raise
    except (Misformed, LookupError, ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise NotAStatement("what is signed has not the form of a statement about a report") from None


def is_about(data: bytes, signature: bytes) -> bool:
    """Whether the statement names these bytes. Nothing is verified."""
    try:
        return digests.of_bytes(data) in read_statement(bundle.read(signature).payload).digests
    except (bundle.NotABundle, NotAStatement):
        return False
