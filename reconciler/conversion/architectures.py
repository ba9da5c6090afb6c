"""Can the pinned tools convert this model correctly? Checked on its config.json, before any conversion.

Olive exits 0 and saves a model also where its mathematics is wrong: it reads settings that transformers 5 keeps under
another name, and ignores some. So only what `conversion.verified` lists is converted, and all else is refused.
"""

from collections.abc import Mapping

from reconciler.conversion.verified import SEEN_WRONG, VERIFIED, Verified
from reconciler.domain.manifest import Target
from reconciler.domain.sources.model_config import (
    Config,
    architecture_of,
    head_size,
    partial_factor,
    rope_of,
    rope_type,
    rotary_size,
)
from reconciler.domain.targets.execution_providers import CONVERTED
from reconciler.domain.targets.precisions import K_QUANT, TABLE
from reconciler.domain.text.escape import one_line
from reconciler.domain.text.quoting import listed

# The attention kernels of onnxruntime refuse other head sizes, when the model is first asked something.
_KERNEL_STEP = 16


def refusal(config: Config, precision: str, target: Target, options: Mapping[str, object] | None = None) -> str | None:
    """Why this model cannot be converted correctly, in one line; None where it can. `options` are the recipe's."""
    architecture = architecture_of(config)
    verified = VERIFIED.get(architecture)
    if verified is None:
        return one_line(SEEN_WRONG.get(architecture, f"{architecture} is not verified with the pinned tools"))
    reasons = (
        _target_refusal(precision, target),
        _shape_refusal(config, verified),
        _rotation_refusal(config, verified),
        _layer_refusal(config, verified),
        *(check(config) for check in verified.checks),
        _precision_refusal(config, architecture, precision, verified, options or {}),
    )
    return next((one_line(reason) for reason in reasons if reason is not None), None)


def _target_refusal(precision: str, target: Target) -> str | None:
    provider = CONVERTED.get(target.execution_provider)
    if provider is None or provider.device != target.device:
        return f"{target.execution_provider} on {target.device} is not verified: only {listed(CONVERTED)} were"
    unfit = provider.unfit.get(precision)
    return f"it cannot be made for {provider.name}: {unfit.why}" if unfit else None


def _shape_refusal(config: Config, verified: Verified) -> str | None:
    if config.get("model_type") != verified.model_type:
        return f"model_type is {config.get('model_type')!r}, and this architecture belongs to {verified.model_type!r}"
    if config.get("quantization_config") is not None:
        return "the weights are quantized already; convert the original ones"
    if head_size(config) % _KERNEL_STEP:
        return f"head size {head_size(config)} is no multiple of {_KERNEL_STEP}: the runtime's kernels refuse it"
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        if config.get(name) is not None:
            return f"{name} is set: the pinned builder applies it, though this architecture has none"
    activation = config.get("hidden_act")
    if activation is not None and activation not in verified.activations:
        return f"hidden_act {activation!r} is not verified"
    return None


def _rotation_refusal(config: Config, verified: Verified) -> str | None:
    rope = rope_of(config)
    if any(isinstance(value, Mapping) for value in rope.values()):
        return "a rotation of its own for each kind of layer is not verified"
    kind = rope_type(config)
    if kind == "yarn":
        return "yarn rotation is ignored or applied wrongly by the pinned builder (cosine 0.42 to 0.99)"
    if kind not in verified.rope_types:
        return f"rotation of type {kind!r} is not verified"
    if partial_factor(config) != 1.0 and not verified.partial_rotation:
        return "rotating only a part of each head is not verified"
    if rotary_size(config) % _KERNEL_STEP:
        return f"{rotary_size(config)} rotated numbers a head are no multiple of {_KERNEL_STEP}: the kernels refuse it"
    return None


def _layer_refusal(config: Config, verified: Verified) -> str | None:
    if config.get("use_sliding_window"):
        return "use_sliding_window is ignored: wrong beyond the window (cosine 0.88)"
    kinds = set(config.get("layer_types") or ())
    if kinds - verified.layer_types:
        return f"layers of type {', '.join(sorted(kinds - verified.layer_types))} are not verified"
    if config.get("sliding_window") and not verified.sliding_window:
        return "a sliding window is not verified"
    for name in ("attention_bias", "mlp_bias", "use_bias", "conv_bias"):
        if config.get(name) and name not in verified.switches:
            return f"{name} is not verified"
    return None


def _precision_refusal(
    config: Config, architecture: str, precision: str, verified: Verified, options: Mapping[str, object]
) -> str | None:
    if precision not in verified.precisions:
        return f"{architecture} cannot be converted at {precision}: Olive's quantizer fails on it (TypeError)"
    block = options.get("block_size", 32)
    rows = sorted(
        {config["hidden_size"], config.get("intermediate_size") or 0, head_size(config) * config["num_attention_heads"]}
    )
    if not isinstance(block, int):
        return None
    lengths, one = ", ".join(map(str, rows)), TABLE[precision]
    if one.only_whole_blocks and any(row % block for row in rows):
        return f"{precision} needs rows that blocks of {block} divide; this model's are {lengths} long"
    odd = any(-(-row // block) % 2 for row in rows)
    if odd and one.has_algorithms and _packs_zero_points_in_pairs(options):
        return f"{options['algorithm']} needs an even number of blocks of {block} in rows of {lengths}"
    return None


def _packs_zero_points_in_pairs(options: Mapping[str, object]) -> bool:
    """These quantizers of onnxruntime stop at an odd number ("cannot reshape array")."""
    algorithm = options.get("algorithm", "default")
    return algorithm in K_QUANT or (algorithm == "rtn" and not options.get("symmetric", True))
