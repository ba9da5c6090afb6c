"""Changes to bytes, drawn from one seeded generator: the same seed gives the same inputs on every machine."""

import json
import random
from collections.abc import Callable, Sequence

# What readers of text, numbers, JSON, YAML, HTTP and Jinja stumble over.
TOKENS = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b"\x1b[2J", "\u202e".encode(), b"\t",
    b"{", b"}", b"[", b"]", b'"', b"'", b"\\", b":", b",", b"- ", b"? ", b"&a ", b"*a", b"<<: ", b"!!x ", b"---\n",
    b"%", b"null", b"NaN", b"1e999", b"-1", b"0",
    b"9" * 25, b"9" * 5000, b"1" + b"0" * 400, b"true", b"\\ud800",
    b"\\u0000", b"../", b"/etc/passwd", b"::", b"$(id)", b"{{", b"}}", b"{%", b"%}", b"{% for x in y %}", b"**",
    b"__class__",
    b"[" * 2000, b"{" * 300, b"(" * 900, b"a" * 3000, b" " * 3000, b"(a?)*", b"a?" * 30, b"Content-Length: 5\r\n",
)  # fmt: skip
VALUES: tuple[object, ...] = (
    None, True, 0, -1, 1 << 70, 1.5, "", "x" * 500, "\ud800", "\0", "../x", [], {}, [[]], [None],
    {"": 0}, {"a": {"b": []}},
)  # fmt: skip


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """One seed with one to six changes. Seeds that are JSON are also changed as values, so that they stay JSON."""
    data = chance.choice(seeds)
    if chance.random() < 0.4:
        data = _other_value(data, chance)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 6))):
        data = chance.choice(_CHANGES)(data, seeds, chance)
    return data[:200_000]


def _flip(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]


def _insert(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(TOKENS) + data[at:]


def _drop(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    start = chance.randint(0, len(data))
    return data[:start] + data[start + chance.randint(1, 40) :]


def _repeat(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    start = chance.randint(0, len(data))
    part = data[start : start + chance.randint(1, 40)]
    return data[:start] + part * chance.choice((2, 3, 50)) + data[start:]


def _cut(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    return data[: chance.randint(0, len(data))]


def _splice(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    other = chance.choice(seeds)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def _noise(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.randbytes(chance.randint(1, 12)) + data[at:]


_CHANGES: tuple[Callable[[bytes, Sequence[bytes], random.Random], bytes], ...] = (
    _flip, _insert, _insert, _drop, _repeat, _cut, _splice, _noise,
)  # fmt: skip


def _other_value(data: bytes, chance: random.Random) -> bytes:
    """Somewhere in the JSON another value stands, or a key is gone, or one more is there."""
    try:
        top = [json.loads(data)]
    except ValueError:
        return data
    holder, key = chance.choice([*_places(top)])
    if chance.random() < 0.2:
        del holder[key]
    else:
        holder[key] = chance.choice(VALUES)
    return json.dumps(top[0] if top else None).encode()


def _places(value: object) -> list[tuple[object, object]]:
    keys = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
    found: list[tuple[object, object]] = [(value, key) for key in keys]
    return found + [place for key in keys for place in _places(value[key])]
