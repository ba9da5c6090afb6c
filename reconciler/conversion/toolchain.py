"""The tools that decide the bytes of a conversion, at the versions this release is measured with.

They are part of every recipe: another version is another build key, so a machine that is upgraded rebuilds instead of
trusting old bytes. `pyproject.toml` pins the same versions (a test compares them); the worker refuses to run others.
"""

OWN_TOOL = "reconciler-conversion"  # beside packages in a recipe: a part of this program
# Raise it when our own conversion (precisions, worker) would give other bytes for an unchanged recipe.
CONVERSION_VERSION = "6"

TOOLS: dict[str, str] = {
    "olive-ai": "0.13.0",
    "onnxruntime-genai": "0.14.1",  # 0.15 and later break Olive 0.13: its builder wants other arguments
    "onnxruntime": "1.31.0",
    "torch": "2.13.0",
    "transformers": "5.23.0",
    OWN_TOOL: CONVERSION_VERSION,
}

# Merges a LoRA adapter into the weights; decides nothing for a model without one.
ADAPTER_TOOLS: dict[str, str] = {"peft": "0.21.2"}


def tools_for(adapter: str | None) -> dict[str, str]:
    """The `tools` of a recipe."""
    return TOOLS if adapter is None else TOOLS | ADAPTER_TOOLS
