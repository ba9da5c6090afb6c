"""The warm converter and the reader are imported here alone: a module that imports them gets workers of its own. They
come from a process that has imported Olive once."""

from tests.conversions import converter, reader
from tests.e2e.conftest import olive_is_imported

__all__ = ["converter", "olive_is_imported", "reader"]
