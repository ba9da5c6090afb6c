"""Names: of a Python field in YAML and JSON, of the variable of an option, of the model that a variant belongs to, and
patterns for names."""

import re

_ACRONYMS = {"kl": "KL"}


def camel(name: str) -> str:
    """`max_mean_kl` -> `maxMeanKL`, as manifests spell it."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


def json_name(name: str) -> str:
    """`mean_kl` -> `meanKl`, as JSON views and inventories spell it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def environment_of(flag: str) -> str:
    """The environment variable of an option."""
    return "RECONCILER_" + flag.removeprefix("--").replace("-", "_").upper()


def model_of(variant: str) -> str:
    """`phi-3-int4` -> `phi-3`: for variants of which only the name is known."""
    return variant.rpartition("-")[0]


def fits(pattern: str, name: str) -> bool:
    """A star stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None
