"""The source, computed by transformers without ever being in memory as a whole: accelerate loads each layer when its
turn comes, straight from the safetensors, and drops it afterwards.

After `read_back` it computes with an artifact's own weights in place of those that were rounded, after `halve` with
half as many digits.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.conversion.order import Order
from reconciler.conversion.worker import staging
from reconciler.conversion.worker.read_back import Span, matched, read_back, rounded_matrices


class StreamedSource:
    """`weights` counts them, `whole` is how many places must be read at once: with fewer, a stretched rotation turns
    otherwise. `furthest` is the largest distance of a rounded matrix (see `read_back`), 0 before any was read."""

    def __init__(self, order: Order) -> None:
        folder, adapter = (os.path.join(order.scratch, name) for name in ("model", "adapter"))
        staged = staging.stage_source(order.source, folder, order.recipe.source)
        self._model = _empty(folder)
        weights: Mapping[str, Any] = _Files(staged.weights, self._model.all_tied_weights_keys)
        if order.adapter is not None and order.recipe.adapter is not None:
            staging.stage_adapter(order.adapter, adapter, order.recipe.adapter)
            weights = _merged(folder, adapter)
        self._loaded = _Loaded(weights)
        self._called = _note_calls(self._model)
        _attach(self._model, self._loaded)
        self.weights = sum(parameter.numel() for parameter in self._model.parameters())
        self.vocabulary = int(self._model.config.vocab_size)
        rope = getattr(self._model.config, "rope_parameters", None) or {}
        self.whole = int(rope.get("original_max_position_embeddings") or 0) + 1

    @property
    def furthest(self) -> float:
        return self._loaded.furthest

    def read_back(self, artifact: str) -> None:
        """From now on with the artifact's rounded weights. The logits must have been computed once without."""
        self._loaded.spans = matched(self._called, rounded_matrices(artifact))

    def halve(self) -> None:
        """From now on with weights, and the tables of the rotation, in half precision; sums stay as they are."""
        self._loaded.halves = True
        for module in self._model.modules():
            if type(module).__name__.endswith("RotaryEmbedding"):
                module.register_forward_hook(lambda *call: tuple(table.half().float() for table in call[-1]))

    def logits(self, rows: list[list[int]]) -> Any:
        """(places, vocabulary) of all rows, one after the other."""
        import torch
        from transformers.modeling_outputs import BaseModelOutputWithPast

        base, tokens = self._model.base_model, torch.tensor(rows)
        with torch.no_grad():
            states = base(input_ids=tokens, use_cache=False).last_hidden_state
            # The head, and whatever this architecture does after it, on the states alone.
            base.forward = lambda *_, **__: BaseModelOutputWithPast(last_hidden_state=states.flatten(0, 1)[None])
            try:
                return self._model(input_ids=tokens).logits[0].float().numpy()
            finally:
                del base.forward


def _empty(folder: str) -> Any:
    """The model without weights. Its buffers, such as the frequencies of the rotation, are computed as always."""
    import accelerate
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with accelerate.init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def _note_calls(model: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of all linear modules by the names of their weights, in the order in which they are called: that of
    the artifact's graph."""
    import torch

    called: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            shape = (module.out_features, module.in_features)
            module.register_forward_pre_hook(
                lambda *_, name=f"{name}.weight", shape=shape: called.__setitem__(name, shape)
            )
    return called


def _attach(model: Any, weights: Mapping[str, Any]) -> None:
    from accelerate.hooks import attach_align_device_hook

    attach_align_device_hook(
        model,
        execution_device="cpu",
        offload=True,
        weights_map=weights,
        preload_module_classes=sorted(model._no_split_modules or ()),
    )


def _merged(folder: str, adapter: str) -> dict[str, Any]:
    """With an adapter the whole model is in memory, in the width of the source: PEFT merges it there."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    merged: dict[str, Any] = PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()
    return merged


class _Files(Mapping[str, Any]):
    """Tensors of safetensors files, read when asked for. A tied weight is that of another name."""

    def __init__(self, paths: tuple[str, ...], tied: dict[str, str]) -> None:
        from safetensors import safe_open

        files: list[Any] = [safe_open(path, framework="pt") for path in paths]
        self._files = {name: file for file in files for name in file.keys()}  # noqa: SIM118 - it is no mapping
        self._tied = tied

    def __getitem__(self, name: str) -> Any:
        held = name if name in self._files else self._tied[name]
        return self._files[held].get_tensor(held)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


class _Loaded(Mapping[str, Any]):
    """What the model computes with, in single precision."""

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self._weights = weights
        self.halves = False
        self.spans: dict[str, list[Span]] = {}
        self.furthest = 0.0

    def __getitem__(self, name: str) -> Any:
        import torch

        held, spans = self._weights[name], self.spans.get(name)
        weight = held.half().float() if self.halves else held.to(torch.float32, copy=spans is not None)
        if spans is not None:
            self.furthest = max(self.furthest, read_back(spans, weight))
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)
