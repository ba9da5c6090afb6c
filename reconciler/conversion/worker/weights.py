"""Look at a source's tensors before they are converted: transformers fills a missing one with random numbers, and
quantization hides one that is not a number. Both end in a model that loads and answers nonsense."""

from typing import Any

from reconciler.domain.errors import ConversionFailed


def check(model: str, files: list[str]) -> None:
    """`files` are all safetensors of the model and its adapter."""
    expected = _expected_shapes(model)
    for path in files:
        for name, shape in _finite_tensors(path):
            if name in expected and expected.pop(name) != shape:
                raise ConversionFailed(f"tensor {name} has the shape {shape}, config.json asks for another")
    if expected:
        raise ConversionFailed(f"{len(expected)} tensors are missing, the first is {sorted(expected)[0]}")


def _expected_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """What the architecture wants, built without memory. Tied weights exist once."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    tied: Any = getattr(empty, "all_tied_weights_keys", {})
    return {name: tuple(value.shape) for name, value in empty.state_dict().items() if name not in tied}


def _finite_tensors(path: str) -> list[tuple[str, tuple[int, ...]]]:
    import torch
    from safetensors import safe_open

    seen = []
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            tensor = file.get_tensor(name)
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise ConversionFailed(f"tensor {name} of the source holds numbers that are not finite")
            seen.append((name, tuple(tensor.shape)))
    return seen
