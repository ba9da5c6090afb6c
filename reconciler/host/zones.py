"""Time zones by their names in the IANA database, which is the system's; on Windows that of the package tzdata."""

from datetime import UTC, tzinfo


def find_zone(name: str) -> tzinfo | None:
    """None where this machine does not know it. "" is UTC."""
    if name in ("", "UTC"):
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
