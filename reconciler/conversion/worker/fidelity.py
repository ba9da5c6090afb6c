"""How near is a converted model to its source? Both read the same texts, and their logits are compared everywhere.

Two comparisons. With the source as it is: what the conversion costs, rounding included. With the source after its own
weights were rounded as the recipe says: the rest is no effect of rounding, but of a wrong conversion. Random or small
models lose much by rounding, and only the second number separates them from broken ones.
"""

import json
import math
import os
from typing import Any

from reconciler.conversion.order import Order
from reconciler.conversion.worker import staging
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.measured import TEXTS, TEXTS_DIGEST
from reconciler.domain.targets import K_QUANT, TABLE

LONGEST = 1024  # tokens of one text: logits of a large vocabulary take 600 KB each
SPARE = 4  # tokens: the runtime refuses a prompt that fills the whole context


def compare(order: Order) -> dict[str, Any]:
    """The fields of `measured.Fidelity`. Memory: the source in fp32, then the artifact; never both at once."""
    assert order.compared is not None
    sequences = _tokens(order.compared)
    expected, rounded = _source_logits(order, sequences)
    found = _artifact_logits(order.compared, sequences)
    numbers = _distance(expected, found, sequences)
    algorithm = order.recipe.options.get("algorithm")
    return {
        "build_key": order.recipe.build_key,
        "prompts": TEXTS_DIGEST,
        "positions": sum(map(len, sequences)),
        **numbers,
        "wiring_kl": _wiring_kl(algorithm, numbers["mean_kl"], expected, rounded, found) if rounded else None,
    }


def _tokens(artifact: str) -> list[list[int]]:
    """Each text alone, and all in a row, which is longer than many windows."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(os.path.join(artifact, "tokenizer.json"))
    with open(os.path.join(artifact, "genai_config.json"), encoding="utf-8") as file:
        context = int(json.load(file)["model"]["context_length"])
    limit = min(LONGEST, context - SPARE)
    texts = (*TEXTS, "\n".join(TEXTS))
    sequences = [tokenizer.encode(text, add_special_tokens=False).ids[:limit] for text in texts]
    kept = [sequence for sequence in sequences if len(sequence) > 1]
    if not kept:
        raise ConversionFailed("the tokenizer makes nothing of any text")
    return kept


def _source_logits(order: Order, sequences: list[list[int]]) -> tuple[list[Any], list[Any]]:
    """With the weights as they are, and rounded (empty where the precision rounds none)."""
    import torch

    model = _load(order)
    with torch.no_grad():
        expected = [_logits(model, sequence) for sequence in sequences]
        rounded = []
        if TABLE[order.recipe.precision].rounded:
            _round(model, order.recipe.precision, order.recipe.options)
            rounded = [_logits(model, sequence) for sequence in sequences]
    return expected, rounded


def _load(order: Order) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    folder, adapter = (os.path.join(order.scratch, name) for name in ("model", "adapter"))
    staging.stage_source(order.source, folder, order.recipe.source)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    if order.adapter is not None and order.recipe.adapter is not None:
        from peft import PeftModel

        staging.stage_adapter(order.adapter, adapter, order.recipe.adapter)
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return model.eval()


def _logits(model: Any, sequence: list[int]) -> Any:
    import torch

    return model(torch.tensor(sequence)[None]).logits[0].float().numpy()


def _round(model: Any, precision: str, options: dict[str, Any]) -> None:
    """In place, every matrix that the builder rounds. A head that shares the embedding gets a copy of its own."""
    import torch

    bits = TABLE[precision].bits
    block, symmetric = int(options.get("block_size", 32)), bool(options.get("symmetric", True))
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            weight = round_to(module.weight.data, bits, block, symmetric)
            module.weight = torch.nn.Parameter(weight, requires_grad=False)


def round_to(weight: Any, bits: int, block: int, symmetric: bool) -> Any:
    """Block by block along the rows, as onnxruntime's MatMulNBits: symmetric around zero with the largest weight at the
    lowest step, else between the least and the largest with a zero point."""
    import torch

    rows, columns = weight.shape
    padded = torch.nn.functional.pad(weight, (0, -columns % block)).reshape(rows, -1, block)
    half, steps = 1 << (bits - 1), (1 << bits) - 1
    if symmetric:
        peak = padded.gather(2, padded.abs().argmax(2, keepdim=True))
        scale, zero = peak / -half, torch.full_like(peak, float(half))
    else:
        low, high = padded.amin(2, keepdim=True).clamp(max=0), padded.amax(2, keepdim=True).clamp(min=0)
        scale = (high - low) / steps
        zero = torch.where(scale == 0, torch.zeros_like(scale), torch.round(-low / scale))
    safe = torch.where(scale == 0, torch.ones_like(scale), scale)
    codes = torch.clamp(torch.round(padded / safe + zero), 0, steps)
    return ((codes - zero) * scale).reshape(rows, -1)[:, :columns].contiguous()


def _artifact_logits(folder: str, sequences: list[list[int]]) -> list[Any]:
    import numpy
    import onnxruntime_genai as runtime

    model, found = runtime.Model(folder), []
    for sequence in sequences:
        parameters = runtime.GeneratorParams(model)
        parameters.set_search_options(max_length=len(sequence) + SPARE, min_length=0, do_sample=False)
        generator = runtime.Generator(model, parameters)
        generator.append_tokens(numpy.array(sequence, dtype=numpy.int32))
        found.append(numpy.array(generator.get_output("logits"))[0].astype(numpy.float32))
    return found


def _distance(expected: list[Any], found: list[Any], sequences: list[list[int]]) -> dict[str, float]:
    import numpy

    agreed, losses = [], []
    for before, after, sequence in zip(expected, found, sequences, strict=True):
        agreed.append(before.argmax(-1) == after.argmax(-1))
        following = numpy.array(sequence[1:])
        places = numpy.arange(len(following))
        losses.append(_log_softmax(before)[places, following] - _log_softmax(after)[places, following])
    loss = float(numpy.concatenate(losses).mean())
    return {
        "top1_agreement": float(numpy.concatenate(agreed).mean()),
        "mean_kl": _mean_kl(expected, found),
        "perplexity_ratio": math.exp(loss) if loss < 20 else 1e9,
    }


def _wiring_kl(algorithm: object, mean_kl: float, expected: list[Any], rounded: list[Any], found: list[Any]) -> float:
    """What rounding does not explain. Never more than `mean_kl`: at 8 bits the sums are rounded more coarsely than the
    weights. How the k-quant family rounds is not documented: there, what it loses more than plain rounding counts."""
    if algorithm in K_QUANT:
        return max(0.0, mean_kl - _mean_kl(expected, rounded))
    return min(mean_kl, _mean_kl(rounded, found))


def _mean_kl(before: list[Any], after: list[Any]) -> float:
    """1e9 for NaN and infinity: as bad as can be, and a number that a record can hold."""
    import numpy

    parts = []
    for one, other in zip(before, after, strict=True):
        p, q = _log_softmax(one), _log_softmax(other)
        parts.append((numpy.exp(p) * (p - q)).sum(-1))
    mean = float(numpy.concatenate(parts).mean())
    return max(0.0, mean) if math.isfinite(mean) else 1e9


def _log_softmax(logits: Any) -> Any:
    import numpy

    wide = logits.astype(numpy.float64)
    wide -= wide.max(-1, keepdims=True)
    return wide - numpy.log(numpy.exp(wide).sum(-1, keepdims=True))
