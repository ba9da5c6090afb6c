"""Whether the weights of an adapter belong to a base: PEFT leaves out, with a warning in its log, what finds no place
there, and the base would be served in the adapter's name. Pure; by names and shapes, as PEFT's `save_pretrained`
writes them. The converter asks PEFT itself again (conversion.worker.checks).
"""

import re
from collections.abc import Iterable, Mapping

from reconciler.domain.sources.adapter_config import Config, rank

Shapes = Mapping[str, tuple[int, ...]]

_PART = re.compile(r"base_model\.model\.(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?")
_MAGNITUDE = re.compile(r"base_model\.model\.(.+)\.lora_magnitude_vector(?:\.weight)?")
_WHOLE = re.compile(r"base_model\.model\.(.+)\.base_layer\.weight")
_LAYER = re.compile(r".*?\.[^.]*\.(\d+)\.")  # as PEFT finds the number of a layer
CHANGES_BOTH = "merged, it changes both"
_SHARED = f"it changes {{}}, which is embedding and head at once in the base: {CHANGES_BOTH}"
_HEAD, _EMBEDDING = "lm_head", "model.embed_tokens"


def mismatch(config: Config, adapter: Shapes, base: Shapes) -> str:
    """What does not belong, in words; "" where all does."""
    ranks: dict[str, dict[str, int]] = {}
    saved = _saved(config, base)
    magnitudes = {part[1]: shape for name, shape in adapter.items() if (part := _MAGNITUDE.fullmatch(name))}
    if wrong := _unlike_saved(saved, adapter, base):
        return wrong
    for name, shape in adapter.items():
        if name in saved or (config.get("use_dora") and _MAGNITUDE.fullmatch(name)):
            continue
        part = _PART.fullmatch(name)
        if part is None:
            return _foreign(name)
        module, factor = part.groups()
        own = base.get(f"{module}.weight")
        if _is_shared(module, base) or own is None:
            absent = f"its {name} changes {module}, which the base does not have"
            return _SHARED.format(module) if _is_shared(module, base) else absent
        if len(shape) != 2 or len(own) != 2 or _meets(factor, shape) != _side(name, factor, own):
            return f"its {name} has the shape {_text(shape)}, and {module} of the base {_text(own)}"
        ranks.setdefault(module, {})[factor] = shape[0] if factor == "A" else shape[1]
    if not ranks:
        return "it holds no weights"
    wrong = _unlike_magnitudes(magnitudes, {*ranks}, base) if config.get("use_dora") else ""
    return wrong or _unlike_ranks(config, ranks) or _unlike_named(config, {*ranks}, base)


def _unlike_magnitudes(found: Shapes, modules: set[str], base: Shapes) -> str:
    """One number for each row of a matrix; that of an embedding is another method, which was not measured."""
    for module in sorted({*found, *modules}):
        own = base.get(f"{module}.weight", ())
        if module == _EMBEDDING:
            return f"it changes {module} by DoRA, which is not merged here"
        if module not in found or module not in modules:
            return f"it has {'no' if module in modules else 'only a'} magnitude of {module}"
        if found[module] != own[:1]:
            return f"its magnitude of {module} has the shape {_text(found[module])}, and the base {_text(own)}"
    return ""


def _saved(config: Config, base: Shapes) -> dict[str, str]:
    """The tensors of the modules that it brings as a whole: the base's names by its own."""
    names = config.get("modules_to_save") or ()
    return {f"base_model.model.{one}": one for one in sorted(base) if _is_one_of(one.rpartition(".")[0], names)}


def _unlike_saved(saved: Mapping[str, str], adapter: Shapes, base: Shapes) -> str:
    for name, own in saved.items():
        module, shape = own.rpartition(".")[0], adapter.get(name)
        if _is_shared(module, base):
            return _SHARED.format(module)
        if shape is None:
            return f"it has nothing for {own} of the base, which modules_to_save names"
        if shape != base[own]:
            return f"its {name} has the shape {_text(shape)}, and {own} of the base {_text(base[own])}"
    return ""


def _is_shared(module: str, base: Shapes) -> bool:
    return module in (_HEAD, _EMBEDDING) and f"{_HEAD}.weight" not in base


def _is_one_of(module: str, names: Iterable[str]) -> bool:
    """As PEFT takes a name: the whole of it, or what stands behind a dot."""
    return any(module == one or module.endswith(f".{one}") for one in names)


def _foreign(name: str) -> str:
    if whole := _WHOLE.fullmatch(name):
        return f"it brings {whole[1]} of a base as a whole; save it with save_embedding_layers=False"
    return f"its {name} is no weight of LoRA"


def _meets(factor: str, shape: tuple[int, ...]) -> int:
    """The side that meets the base: A takes what the module takes, B gives what it gives."""
    return shape[1] if factor == "A" else shape[0]


def _side(name: str, factor: str, base: tuple[int, ...]) -> int:
    """A matrix is (gives, takes). An embedding is stored the other way round."""
    takes = 0 if "lora_embedding_" in name else 1
    return base[takes if factor == "A" else 1 - takes]


def _unlike_ranks(config: Config, ranks: Mapping[str, Mapping[str, int]]) -> str:
    wanted = rank(config)
    for module, found in ranks.items():
        if len(found) < 2:
            return f"it has lora_{next(iter(found))} of {module} without the other half"
        if len({*found.values(), wanted or found["A"]}) > 1:
            declared = f", and r is {wanted}" if wanted else ""
            return f"its halves of {module} have the ranks {found['A']} and {found['B']}{declared}"
    return ""


def _unlike_named(config: Config, modules: set[str], base: Shapes) -> str:
    """PEFT changes what the configuration names. An expression (target_modules, layers_pattern) is not tried here."""
    targets = config["target_modules"]
    if isinstance(targets, str) or config.get("layers_pattern"):
        return ""
    saved = config.get("modules_to_save") or ()
    known = {name.removesuffix(".weight") for name in base if name.endswith(".weight")}
    known = {module for module in known if not _is_one_of(module, saved)}
    named = {module for module in known if _is_named(module, targets, config.get("layers_to_transform"))}
    if missing := sorted(named - modules):
        return f"it has nothing for {missing[0]} of the base"
    unused = sorted(modules - named)
    return f"its configuration leaves out {unused[0]}, for which it has weights" if unused else ""


def _is_named(module: str, targets: list[str], layers: int | list[int] | None) -> bool:
    if module in targets:
        return True
    if not _is_one_of(module, targets):
        return False
    if layers is None or layers == []:
        return True
    found = _LAYER.match(module)
    return found is not None and int(found[1]) in (layers if isinstance(layers, list) else [layers])


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "of a single number"
