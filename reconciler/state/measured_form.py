"""How measurements look on disk: numbers and answers by release and by build key, the oldest first."""

from __future__ import annotations

from reconciler.domain.measured import Endured, Fidelity, Known, Measured, Measurements, Speed
from reconciler.domain.value import as_dict
from reconciler.host.sealed import Damaged
from reconciler.state.documents import Document


def read_measured(document: Document) -> Known:
    try:
        return Known(
            fidelity={one["build_key"]: Fidelity(**one) for one in document.get("fidelity", ())},
            releases={one["release"]: _read(one) for one in document["measurements"]},
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(str(error)) from None


def write_measured(known: Known) -> Document:
    return {
        "measurements": [_write(one) for one in known.releases.values()],
        "fidelity": [as_dict(one) for one in known.fidelity.values()],
    }


def _read(one: Document) -> Measured:
    """What older versions wrote has the load alone."""
    endured = one.get("endured")
    return Measured(
        release=one["release"],
        build_key=one["buildKey"],
        load=Measurements(**one["measured"]) if one["measured"] else None,
        answers=dict(one.get("answers", {})),
        rendered={key: (counts[0], counts[1]) for key, counts in one.get("rendered", {}).items()},
        speeds=tuple(Speed(**speed) for speed in one.get("speeds", ())),
        speed_memory_bytes=one.get("speedMemoryBytes", 0),
        endured=_read_endured(endured) if endured else None,
        times=dict(one.get("times", {})),
        refused=dict(one.get("refused", {})),
    )


def _read_endured(one: Document) -> Endured:
    crashed = one["crashed"]
    return Endured(**one | {"crashed": None if crashed is None else tuple(crashed)})


def _write(one: Measured) -> Document:
    return {
        "release": one.release,
        "buildKey": one.build_key,
        "measured": as_dict(one.load) if one.load else None,
        "answers": one.answers,
        "rendered": {key: list(counts) for key, counts in one.rendered.items()},
        "speeds": [as_dict(speed) for speed in one.speeds],
        "speedMemoryBytes": one.speed_memory_bytes,
        "endured": as_dict(one.endured) if one.endured else None,
        "times": one.times,
        "refused": one.refused,
    }
