"""An inventory as JSON. Inventories of other machines come from a folder in git: whoever can write there is not
trusted, so everything is of a known form and size, or refused. Pure."""

from __future__ import annotations

from typing import Any

from reconciler.domain.errors import PermanentError
from reconciler.domain.facts import Facts, Limits
from reconciler.domain.failures import RememberedFailure
from reconciler.domain.recorded import Condition, Timing
from reconciler.domain.suspension import Suspension
from reconciler.fleet.form import (
    Flag,
    Form,
    Many,
    Mapping,
    Misformed,
    Optional,
    Plain,
    Text,
    Whole,
    parse_json,
)
from reconciler.fleet.inventory import (
    FORMAT_VERSION,
    Content,
    Disk,
    FolderState,
    Held,
    HeldArtifact,
    Inventory,
    RegistrationState,
    Variant,
)
from reconciler.fleet.inventory_measured import FIDELITY, MEASURED

LONGEST = 4 << 20  # bytes of one inventory
MOST = 1000  # models, artifacts, suspensions
FEW = 100

_NAME = Text(200, pattern=r"\S.*", meaning="a name")
_DIGEST = Text(100, pattern=r"\S*", meaning="a digest")
_TIME = Text(40)
_LINE = Text(300)
_COUNT = Whole()

_CONTENT = Form(
    Content,
    model=_NAME,
    precision=_NAME,
    release=_DIGEST,
    parts=Mapping(_NAME, _DIGEST, FEW),
    build_key=_DIGEST,
    artifact=_DIGEST,
    recipe=Plain(),
    generation=Plain(),
    template_origin=_LINE,
    protected=Flag(),
    size_bytes=_COUNT,
    revision=_LINE,
    since=_TIME,
)
_HELD = Form(
    Held,
    number=_COUNT,
    recorded=Flag(),
    content=Optional(_CONTENT),
    folder=Optional(Form(FolderState, owned=Flag(), readable=Flag(), damage=Many(_LINE, MOST))),
    registration=Optional(
        Form(
            RegistrationState,
            owned=Flag(),
            leads_to=Optional(_COUNT),
            release=_LINE,
            build_key=_LINE,
            model=_LINE,
        )
    ),
)
_CONDITION = Form(
    Condition, type=_NAME, status=_NAME, reason=_LINE, message=_LINE, last_transition_time=_TIME
)
_FAILURE = Form(
    RememberedFailure,
    key=_DIGEST,
    action=_NAME,
    variant=_NAME,
    code=_NAME,
    message=_LINE,
    hint=_LINE,
    attempts=_COUNT,
    first=_TIME,
    last=_TIME,
    permanent=Flag(),
    version=_NAME,
    delay=Whole(fraction=True),
)
_FORM = Form(
    Inventory,
    format_version=Whole(FORMAT_VERSION),
    machine=_NAME,
    generated=_TIME,
    reconciler=_NAME,
    labels=Mapping(_NAME, _LINE, FEW),
    facts=Form(
        Facts,
        os=_NAME,
        arch=_NAME,
        memory_bytes=_COUNT,
        cpus=_COUNT,
        execution_providers=Many(_NAME, FEW),
    ),
    versions=Mapping(_NAME, _LINE, FEW),
    source_roots=Many(Text(4096), FEW),
    disk=Form(Disk, free_bytes=_COUNT, total_bytes=_COUNT, used_bytes=Optional(_COUNT)),
    limits=Form(Limits, disk_quota=Optional(_COUNT), disk_reserve=_COUNT),
    attempted_revision=_LINE,
    applied_revision=_LINE,
    variants=Many(
        Form(
            Variant,
            variant=_NAME,
            highest_number=_COUNT,
            conditions=Many(_CONDITION, FEW),
            releases=Many(_HELD, FEW),
        ),
        MOST,
    ),
    artifacts=Many(
        Form(
            HeldArtifact,
            build_key=_DIGEST,
            digest=_DIGEST,
            size_bytes=_COUNT,
            copied_bytes=_COUNT,
            damaged=Flag(),
        ),
        MOST,
    ),
    suspensions=Many(Form(Suspension, name=_NAME, reason=_LINE, since=_TIME, until=_TIME), MOST),
    timings=Many(
        Form(Timing, action=_NAME, precision=_NAME, source_bytes=_COUNT, seconds=Whole(fraction=True)), MOST
    ),
    failures=Many(_FAILURE, MOST),
    hub_sources=Mapping(_DIGEST, _COUNT, MOST),
    fidelity=Many(FIDELITY, MOST),
    measured=Optional(Many(MEASURED, MOST)),
    runtime=Mapping(_NAME, _LINE, FEW),
    outdated=Mapping(_DIGEST, Mapping(_NAME, _LINE, FEW), MOST),
)


class InventoryInvalid(PermanentError):
    code = "InventoryInvalid"


def inventory_view(inventory: Inventory) -> dict[str, Any]:
    """Its JSON form."""
    return _FORM.write(inventory)


def read_inventory(data: bytes, file: str) -> Inventory:
    """Raises InventoryInvalid, naming `file` as the user knows it."""
    try:
        return _read(parse_json(data, LONGEST))
    except Misformed as error:
        hint = "`reconciler inventory` of the machine writes a good one"
        raise InventoryInvalid(f"{file}: {error}", hint=hint) from None


def _read(document: object) -> Inventory:
    version = document.get("formatVersion") if isinstance(document, dict) else None
    if isinstance(document, dict) and version != FORMAT_VERSION:
        raise Misformed("formatVersion", f"{FORMAT_VERSION}, which this reconciler knows", version)
    found: Inventory = _FORM.read(document, "")
    return found
