"""The warm converter and the reader are imported here alone: a module that imports them gets workers of its own."""

from tests.conversions import converter, reader

__all__ = ["converter", "reader"]
