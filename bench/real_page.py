"""docs/real-models.md from the rows that `bench.real` measured."""

from typing import Any

HEAD = """\
# Models of real size

Made by `make bench-real` (an hour): models in the shapes of Qwen2.5, made on the spot from a seed with weights that
resemble trained ones. Each is converted by Olive alone, with the configuration that `reconciler explain` prints, and
then by `reconciler apply`, which also compares the result with its source, rehearses it in the runtime and serves it.
Memory is the peak of all processes together, what they share counted once; CPU is that of all processes.
"""
CPU, MEMORY = 1.5, 1.05  # times Olive alone, promised for 0.5 B at int4


def page(rows: list[dict[str, Any]]) -> str:
    rows = sorted(rows, key=lambda row: (row["source"], row["precision"]))
    return "\n".join([HEAD, *_machines(rows), *_costs(rows), *_served(rows), *_phases(rows)]) + "\n"


def _machines(rows: list[dict[str, Any]]) -> list[str]:
    found = []
    for row in rows:
        one = row["machine"]
        line = f"{one['cores']} cores, {_gib(one['memory'])} GiB, {one['system']}, {one['date']}."
        found += [line] * (line not in found)
    loads = ", ".join(f"{row['size']} {row['precision']} {row['machine']['load']}" for row in rows)
    return [*found, "", f"Load of the machine when each began: {loads}.", ""]


def _costs(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## What it costs to convert",
        "",
        f"To reach for 0.5 B at int4: {CPU} times Olive's CPU and {MEMORY} times its memory.",
        "",
        "| model | source | | seconds | CPU s | times | peak GiB | times | times the source | disk GiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        first = f"{row['size']} {row['precision']} | {_gib(row['source'])} GiB"
        if (alone := row.get("olive")) is None:
            lines.append(f"| {first} | Olive alone: not run, it does not fit | | | | | | | |")
        for who in ("olive", "apply") if alone else ("apply",):
            one = row[who]
            first = first if who == "olive" else " | "
            times = [f"{one[key] / alone[key]:.2f}" if alone else "" for key in ("cpu", "memory")]
            name = "Olive alone" if who == "olive" else "`apply`"
            if one["code"]:
                ended = "does not fit" if one["code"] < 0 else f"exit {one['code']}"
                name += f": {one['held'] or ended}"
            lines.append(
                f"| {first} | {name} | {one['seconds']:.0f} | {one['cpu']:.0f} | {times[0]} "
                f"| {_gib(one['memory'])} | {times[1]} "
                f"| {one['memory'] / row['source']:.1f} | {_gib(one['disk'])} |"
            )
    return [*lines, ""]


def _served(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## What is served",
        "",
        "Tokens a second after a prompt of some 32 and some 512 tokens, in the runtime that serves.",
        "",
        "| model | GiB | loads in s | tokens/s (32) | tokens/s (512) | peak GiB | mean KL | beyond rounding |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if one := row.get("bench"):
            speeds = [f"{speed['tokensPerSecond']['median']:.1f}" for speed in one["speeds"]] + ["", ""]
            fidelity = one["fidelity"] or {}
            wiring = fidelity.get("wiringKl")
            lines.append(
                f"| {row['size']} {row['precision']} | {_gib(one['sizeBytes'])} | {one['loadSeconds']['median']:.1f} "
                f"| {speeds[0]} | {speeds[1]} | {_gib(one['peakMemoryBytes']['median'])} "
                f"| {fidelity.get('meanKl', float('nan')):.2g} | {'' if wiring is None else f'{wiring:.1g}'} |"
            )
    lines += ["", "Token by token, as the decoding gate reads with `decoding: {tokens: 300}`:", ""]
    lines += [f"- {row['size']} {row['precision']}: {row['decoding']}" for row in rows if "decoding" in row]
    return [*lines, ""]


def _phases(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["## Where the memory goes", "", "The peak of each phase, in GiB.", ""]
    for row in rows:
        for who, name in (("olive", "Olive alone"), ("apply", "`apply`")):
            if who not in row:
                continue
            phases = ", ".join(f"{phase} {_gib(peak)}" for phase, peak in row[who]["phases"].items())
            lines.append(f"- {row['size']} {row['precision']}, {name}: {phases}")
    return lines


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f}"
