"""The source, computed by transformers without ever being in memory as a whole: accelerate loads each layer when its
turn comes, straight from the safetensors, and drops it afterwards.

With an artifact it computes everything twice as it goes, the second time with the artifact's own weights in place of
those that were rounded; so each layer is loaded once. After `narrow` it computes with half as many digits.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.conversion.order import Order
from reconciler.conversion.worker import staging
from reconciler.conversion.worker.read_back import RoundedMatrices, read_back
from reconciler.domain.errors import ConversionFailed

_ADDS_ONE = "GemmaRMSNorm"  # it multiplies with its weight and one


class StreamedSource:
    """`weights` counts them, `whole` is how many places must be read at once: with fewer, a stretched rotation turns
    otherwise. `furthest` is the largest distance of a rounded matrix (see `read_back`), 0 before any was read."""

    def __init__(self, order: Order, rounded: RoundedMatrices | None = None) -> None:
        folder, adapter = (os.path.join(order.scratch, name) for name in ("model", "adapter"))
        staged = staging.stage_source(order.source, folder, order.recipe.source, order.digests)
        self._staged, self._model, adapted = [staged], empty_model(folder), _Adapted()
        if order.adapter is not None and order.recipe.adapter is not None:
            added = staging.stage_adapter(order.adapter, adapter, folder, order.recipe.adapter, order.digests)
            self._staged.append(added)
            adapted = _adapted(folder, adapter)
        self._loaded = _Loaded(_Files(staged.weights, self._model.all_tied_weights_keys, adapted))
        self._rounded, self._both, self.furthest = rounded, rounded is not None, 0.0
        if rounded is not None:
            self._compute_twice(rounded)
        _attach(self._model, self._loaded)
        self._look_up_rows()
        self.weights = sum(parameter.numel() for parameter in self._model.parameters())
        self.vocabulary = int(self._model.config.vocab_size)
        rope = getattr(self._model.config, "rope_parameters", None) or {}
        self.whole = int(rope.get("original_max_position_embeddings") or 0) + 1

    def check_unchanged(self) -> None:
        """Numbers of other weights are none of this source."""
        for one in self._staged:
            staging.check_unchanged(one)

    def narrow(self, floats: str) -> None:
        """From now on with weights, the tables of the rotation and the scale of an embedding as fp16 or bf16 has them,
        and no more by the source's own where the artifact has others. Sums stay as they are, and the artifact's weights
        too."""
        import torch

        narrow = {"fp16": torch.float16, "bf16": torch.bfloat16}[floats]
        self._loaded.narrow, self._both = narrow, False
        norms = {name: type(module).__name__ for name, module in self._model.named_modules()}
        self._loaded.around_one = {f"{name}.weight" for name, kind in norms.items() if kind == _ADDS_ONE}
        for name, buffer in self._model.named_buffers():
            if name.endswith(".embed_scale"):
                buffer.copy_(buffer.to(narrow))
        for module in self._model.modules():
            if type(module).__name__.endswith("RotaryEmbedding"):
                module.register_forward_hook(lambda *call: tuple(table.to(narrow).float() for table in call[-1]))

    def logits(self, rows: list[list[int]]) -> list[Any]:
        """(places, vocabulary) of all rows, one after the other: by the source's weights, and by the artifact's if it
        was made with some. After `narrow` by one of the two."""
        import torch
        from transformers.modeling_outputs import BaseModelOutputWithPast

        if (last := max(map(max, rows))) >= self.vocabulary:
            raise ConversionFailed(f"the tokenizer gives the id {last}, and the model knows {self.vocabulary} ids")
        times = 2 if self._both else 1
        base, tokens = self._model.base_model, torch.tensor(rows * times)
        with torch.no_grad():
            states = base(input_ids=tokens, use_cache=False).last_hidden_state
            states = states.reshape(times, -1, states.shape[-1])
            # The head, and whatever this architecture does after it, on the states alone.
            base.forward = lambda *_, **__: BaseModelOutputWithPast(last_hidden_state=states)
            try:
                found = self._model(input_ids=tokens).logits
            finally:
                del base.forward
        if self._rounded is not None:
            self._rounded.check_all_taken()
        return [one.float().numpy() for one in found]

    def _look_up_rows(self) -> None:
        """An embedding loads the rows that it is asked for: a whole vocabulary costs as much as several layers."""
        import torch
        from accelerate.hooks import remove_hook_from_module

        for name, module in self._model.named_modules():
            if isinstance(module, torch.nn.Embedding):
                remove_hook_from_module(module)
                module.padding_idx = None  # it matters in training alone
                module.forward = self._rows_alone(module, f"{name}.weight")

    def _rows_alone(self, module: Any, name: str) -> Callable[[Any], Any]:
        import torch

        whole = module.forward

        def forward(tokens: Any) -> Any:
            rows, places = torch.unique(tokens, return_inverse=True)
            module.weight = torch.nn.Parameter(self._loaded.rows(name, rows), requires_grad=False)
            return whole(places)

        return forward

    def _compute_twice(self, rounded: RoundedMatrices) -> None:
        """Of what enters a linear module the first half meets the source's weights, the other the artifact's. Modules
        are called in the order of the artifact's graph."""
        import torch

        for name, module in self._model.named_modules():
            if isinstance(module, torch.nn.Linear):
                self._loaded.changed.add(f"{name}.weight")
                module.forward = self._twice(module, f"{name}.weight", rounded)

    def _twice(self, module: Any, name: str, rounded: RoundedMatrices) -> Callable[[Any], Any]:
        import torch

        def forward(states: Any) -> Any:
            weight = module.weight
            if hasattr(weight, "is_read_back"):
                raise ConversionFailed(f"the source computes with {name} twice in a layer, which is not known here")
            *before, after = states.chunk(2 if self._both else 1)
            found = [_linear(one, weight, module.bias) for one in before]
            spans = rounded.take(name, module.out_features, module.in_features)
            self.furthest = max(self.furthest, read_back(spans, weight.data))
            weight.is_read_back = True
            return torch.cat((*found, _linear(after, weight, module.bias)))

        return forward


def _linear(states: Any, weight: Any, bias: Any) -> Any:
    """torch.nn.functional.linear with the larger matrix first: with some tens of states that takes two thirds of the
    time (MKL of torch 2.13, two threads)."""
    found = (weight @ states.reshape(-1, states.shape[-1]).T).T
    return (found if bias is None else found + bias).reshape(*states.shape[:-1], -1)


def empty_model(folder: str) -> Any:
    """The model without weights. Its buffers, such as the frequencies of the rotation, are computed as always."""
    import accelerate
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with accelerate.init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def _attach(model: Any, weights: Mapping[str, Any]) -> None:
    from accelerate.hooks import attach_align_device_hook

    attach_align_device_hook(
        model,
        execution_device="cpu",
        offload=True,
        weights_map=weights,
        preload_module_classes=sorted(model._no_split_modules or ()),
    )


@dataclass(frozen=True, kw_only=True)
class _Adapted:
    """By the name of the weight: `layers` that add to it, and what takes its place (`modules_to_save`)."""

    layers: Mapping[str, Any] = field(default_factory=dict)
    whole: Mapping[str, Any] = field(default_factory=dict)


def _adapted(folder: str, adapter: str) -> _Adapted:
    """PEFT puts the adapter into a model whose weights are all one zero, which takes no memory."""
    import torch
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer
    from peft.utils import ModulesToSaveWrapper

    model = empty_model(folder)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(torch.zeros(1).expand(parameter.shape), requires_grad=False))
    merged = PeftModel.from_pretrained(model, adapter, low_cpu_mem_usage=True)
    modules = dict(merged.get_base_model().named_modules())
    layers = {f"{name}.weight": module for name, module in modules.items() if isinstance(module, LoraLayer)}
    wholes = {name: module for name, module in modules.items() if isinstance(module, ModulesToSaveWrapper)}
    whole = {
        f"{name}.{part}": tensor
        for name, module in wholes.items()
        for part, tensor in module.modules_to_save[module.active_adapters[0]].state_dict().items()
    }
    return _Adapted(layers=layers, whole=whole)


def _changed(weight: Any, layer: Any) -> Any:
    """As PEFT merges it: what LoRA adds, and with DoRA each row at the length that was learnt for it."""
    name = layer.active_adapter[0]
    added = layer.get_delta_weight(name)
    changed = weight + added
    if name not in layer.lora_magnitude_vector:
        return changed
    magnitude = layer.lora_magnitude_vector[name]
    return changed * (magnitude.weight / magnitude.get_weight_norm(weight, added, scaling=1)).view(-1, 1)


class _Files(Mapping[str, Any]):
    """Tensors of safetensors files, read when asked for, with what adapters add to them. A tied weight is that of
    another name."""

    def __init__(self, paths: tuple[str, ...], tied: dict[str, str], adapted: _Adapted) -> None:
        from safetensors import safe_open

        files: list[Any] = [safe_open(path, framework="pt") for path in paths]
        self._files = {name: file for file in files for name in file.keys()}  # noqa: SIM118 - it is no mapping
        self._tied = tied
        self._adapters: dict[str, list[Any]] = {}
        self._whole = adapted.whole
        for name, layer in adapted.layers.items():
            self._adapters.setdefault(self._held(name), []).append(layer)

    def __getitem__(self, name: str) -> Any:
        held = self._held(name)
        if name in self._whole:
            return self._whole[name]
        weight = self._files[held].get_tensor(held)
        for layer in self._adapters.get(held, ()):
            weight = _changed(weight.float(), layer)
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def _held(self, name: str) -> str:
        return name if name in self._files else self._tied[name]


class _Loaded(Mapping[str, Any]):
    """What the model computes with, in single precision. Weights in `changed` are the caller's own; of those that are
    `around_one` an artifact keeps one more."""

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self._weights = weights
        self.narrow: Any = None  # a type of half as many digits, if any
        self.around_one: set[str] = set()
        self.changed: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        import torch

        weight = self._weights[name]
        if name in self.around_one and self.narrow is not None:
            return self._narrowed(weight.float() + 1).float() - 1
        return self._narrowed(weight).to(torch.float32, copy=name in self.changed)

    def rows(self, name: str, which: Any) -> Any:
        """Those of a matrix; the others are not read."""
        return self._narrowed(self._weights[name][which]).float()

    def _narrowed(self, weight: Any) -> Any:
        return weight if self.narrow is None else weight.to(self.narrow)

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)
