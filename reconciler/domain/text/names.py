"""The name of a Python field in YAML and JSON."""

_ACRONYMS = {"kl": "KL"}


def camel(name: str) -> str:
    """`max_mean_kl` -> `maxMeanKL`."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)
