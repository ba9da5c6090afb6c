"""What stands beside a tokenizer: its settings, and the chat template that a model brings."""

from typing import Any

from reconciler.sources.folder.guarded_folder import Folder, read_object, read_small

TEMPLATE = "chat_template.jinja"
TOKENIZER_CONFIG = "tokenizer_config.json"


def optional_object(folder: Folder, name: str) -> dict[str, Any]:
    return read_object(folder, name) if folder.exists(name) else {}


def own_template(folder: Folder, settings: dict[str, Any]) -> str | None:
    """`settings` are those of tokenizer_config.json."""
    if folder.exists(TEMPLATE):
        return read_small(folder, TEMPLATE).decode(errors="replace")
    return _default_template(settings.get("chat_template"))


def _default_template(value: object) -> str | None:
    """One template, or a list of named ones."""
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else None
