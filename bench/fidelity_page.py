"""docs/fidelity.md, written from the rows that bench.fidelity measured."""

from collections.abc import Callable, Sequence
from typing import Any

from reconciler.gates.decoding import DEFAULT_BARS as DECODING_BARS
from reconciler.gates.fidelity import BARS, DEFAULT_BARS

PRECISIONS = ("fp32", "fp16", "int8", "int4")
Rows = list[dict[str, Any]]
Value = tuple[float, str]  # and whose it is


def page(rows: Rows, *, wrong: Sequence[str], late: Sequence[str]) -> str:
    """`wrong` are models that come out wrong, `late` those that do so token by token."""
    rows = [_as_shown(one) for one in rows]
    families, edited = [one for one in rows if "edited" not in one], [one for one in rows if "edited" in one]
    parts = (
        *_INTRODUCTION.splitlines(),
        *_bars(),
        "",
        *_table(families),
        *_EDITED.splitlines(),
        *_edited(edited),
        *_APART.splitlines(),
        *_apart(families, wrong),
        *_DECODING.splitlines(),
        *_decoding(families, edited, late),
        *_COSTS.splitlines(),
    )
    return "".join(line + "\n" for line in parts)


def _as_shown(one: dict[str, Any]) -> dict[str, Any]:
    """Rounded, so that the lower tables follow from the upper ones alone."""
    digits = {"top1_agreement": ".3f", "mean_kl": ".3g", "perplexity_ratio": ".3f"}
    digits |= dict.fromkeys((*_SECOND, "median_kl"), ".3g")
    return one | {
        part: {
            name: float(format(held, digits[name])) if name in digits and held is not None else held
            for name, held in one[part].items()
        }
        for part in ("fidelity", "decoded")
        if part in one
    }


def _bars() -> list[str]:
    names = "top-1 at least | mean KL at most | perplexity ratio at most | wiring KL at most | decoding KL at most"
    lines = [f"| precision | {names} |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {precision} | {' | '.join(f'{bars[name]:g}' for name in BARS)} | {DECODING_BARS[precision]:g} |"
        for precision, bars in DEFAULT_BARS.items()
    ]
    return lines


def _table(rows: Rows) -> list[str]:
    names = (
        "top-1 | mean KL | perplexity ratio | wiring KL | rounding | decoding KL | tokens read | tokenizer | verdict"
    )
    lines = [f"| model | architecture | precision | {names} |", "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    lines += [f"| {one['name']} | {one['architecture']} | {one['precision']} {_numbers(one)}" for one in rows]
    return lines


def _numbers(one: dict[str, Any]) -> str:
    if "error" in one:
        return "| - | - | - | - | - | - | - | - | does not convert |"
    found, decoded, tokenized = one["fidelity"], one["decoded"], one["tokenized"]
    wiring, rounding = ("-" if value is None else f"{value:.3g}" for value in map(found.get, _SECOND))
    return (
        f"| {found['top1_agreement']:.3f} | {found['mean_kl']:.3g} | {found['perplexity_ratio']:.3f} | {wiring} "
        f"| {rounding} | {decoded['median_kl']:.3g} | {decoded['positions']} of {decoded['longest']} "
        f"| {tokenized['differing']} of {tokenized['tried']} | {_verdict(one)} |"
    )


def _verdict(one: dict[str, Any]) -> str:
    return f"rejected ({', '.join(one['rejected'])})" if one["rejected"] else "faithful"


def _edited(rows: Rows) -> list[str]:
    lines = ["| edited | model | precision | decoding KL | tokens read | verdict |", "|---|---|---|---|---|---|"]
    for one in rows:
        decoded = one["decoded"]
        read = f"{decoded['median_kl']:.3g} | {decoded['positions']} of {decoded['longest']}"
        lines.append(f"| {one['edited']} | {one['name']} | {one['precision']} | {read} | {_verdict(one)} |")
    return lines


def _apart(rows: Rows, names: Sequence[str]) -> list[str]:
    """Beside each bar: the faithful conversion that is nearest to it, and the wrong one. `names` are wrong."""
    lines = [*_APART_HEAD]
    for precision in PRECISIONS:
        measured = [one for one in rows if one["precision"] == precision and "fidelity" in one]
        for label, name, number in _NUMBERS:
            found = [(number(one["fidelity"]), one["name"]) for one in measured]
            values = [(value, by) for value, by in found if value is not None]
            right, wrong = ([one for one in values if (one[1] in names) == is_wrong] for is_wrong in (False, True))
            if values:
                lines.append(_between(precision, label, right, wrong, DEFAULT_BARS[precision][name]))
    return lines


def _decoding(families: Rows, edited: Rows, late: Sequence[str]) -> list[str]:
    lines = [*_APART_HEAD]
    for precision in PRECISIONS:
        right: list[Value] = []
        wrong: list[Value] = []
        for one in families + edited:
            if one["precision"] == precision and "decoded" in one:
                held = wrong if "edited" in one or one["name"] in late else right
                held.append((one["decoded"]["median_kl"], str(one.get("edited", one["name"]))))
        lines.append(_between(precision, "decoding KL", right, wrong, DECODING_BARS[precision]))
    return lines


def _between(precision: str, label: str, right: list[Value], wrong: list[Value], bar: float) -> str:
    """Of top-1 agreement the smaller is the worse; of all others the larger."""
    falling = label == "top-1"
    (worst, by), (following, _) = sorted(right, reverse=not falling)[:2]
    best, other = (max if falling else min)(wrong)
    separate = best < worst if falling else best > worst
    apart = "overlap" if not separate else f"{best / max(worst, 1e-12):.2g} times" if not falling else "yes"
    ends = f"{worst:.3g} ({by}) | {following:.3g} | {best:.3g} ({other})"
    return f"| {precision} | {label} | {ends} | {apart} | {bar:g} |"


_SECOND = ("wiring_kl", "rounding_distance")
_NUMBERS: tuple[tuple[str, str, Callable[[dict[str, Any]], float | None]], ...] = (
    ("top-1", "min_top1_agreement", lambda found: found["top1_agreement"]),
    ("mean KL", "max_mean_kl", lambda found: found["mean_kl"]),
    ("perplexity ratio", "max_perplexity_ratio", lambda found: found["perplexity_ratio"]),
    ("wiring KL", "max_wiring_kl", lambda found: found["wiring_kl"]),
)

_APART_HEAD = (
    "| precision | number | worst faithful | next | best wrong | apart | bar |",
    "|---|---|---|---|---|---|---|",
)

_EDITED = """\

Artifacts whose graphs were edited after the conversion, so that what they find for a whole text stays as it is and only
reading token by token goes wrong: another window then, the states of two convolutions exchanged, a cache in steps of
1/32. (At int8 and int4 such a cache is lost in what the runtime rounds anyway, so it is no wrong one there.)

"""

_APART = """\

## Which number tells them apart

For each number the faithful conversion that looks worst, the one after it, and the wrong one that looks best.

- **Top-1 agreement and the perplexity ratio do not.** gemma2 and the caps come out wrong and choose the same token as
  their sources 99 times of 100; first choices alone do not show it. These bars are for what is broken altogether, and
  for people who set their own.
- **The mean divergence does at fp32 only.** At the other precisions honest rounding costs more than a small mistake.
- **What rounding does not explain (wiring KL) does, at every precision that rounds, and about as clearly as fp32.** The
  bar is nearer to the right ones. Of those gemma lies highest: the builder rounds the square root by which embeddings
  are multiplied to two decimals, and at fp16 it adds one to the norms before it halves them.

"""

_DECODING = """\

## Reading token by token

Measured in the runtime that serves (onnxruntime-genai 0.18.0 of Foundry Local), through its own choice of each next
token. At int8 and int4 its two ways of multiplying round differently, and a rounding that falls otherwise costs a token
up to 2 nats; but it falls on few, and the median stays below 1e-3 also for weights with outliers 30 times as large. So
the median counts, of each part of the text between the lengths at which a model begins to compute otherwise.

Foundry Local 2.2.1 chats through this generator: its other way, the engine for many requests at once, needs a part of
`genai_config.json` that is not among the keys that are served. A conversation that is kept in one session is read as a
whole at each question: across the 4,096 tokens of Phi-3's longrope four such questions got the answers that the same
messages got at once (tried by hand, 2026-11-29).

What is wrong for whole texts and answers alike is not seen here but above: `gemma2` decodes as wrongly as it reads.

"""

_COSTS = """\

## On another machine

Reference answers (`domain/reference.py`) travel with an artifact, and the runtime of each machine is compared with
them. By hand, with all of the above that come out right as they are, and with half of them in the other rows
(2026-11-29, x64): the most that is honest, the least that is wrong. The divergence is the median of 48 places from what
the artifact found where it was built, which the gate judges first.

| on the same artifact | int4 | int8 | fp16 | fp32 |
|---|---|---|---|---|
| as it is (built with onnxruntime-genai 0.14.1, served with 0.18.0) | 3e-12 | 4e-12 | 9e-7 | 2e-11 |
| one thread, three threads | 3e-12 | 4e-12 | not tried | 4e-12 |
| onnxruntime 1.24.4 with onnxruntime-genai 0.13.0 | 1.5e-4 | 2.4e-4 | 9e-7 | 7e-12 |
| a graph that is not optimized | 1.6e-4 | 1.6e-4 | 2e-6 | 4e-12 |
| sums that are not rounded (accuracy level 1, or no prepacking) | 1.5e-3 | 2.2e-3 | 3e-12 | 3e-12 |
| **bar** | 6e-3 | 6e-3 | 1e-4 | 1e-7 |
| a window of 32 tokens, least | 0.85 | 1.2 | not tried | not tried |
| the other kind of rotation, least | 0.1 | 1 | not tried | 0.09 |
| two neighbouring tenths of a matrix swapped, least | 4e-3 | 0.19 | not tried | no number |
| scores of attention 5 % too large | 1e-3 to 5e-3 | 4e-3 to 6e-3 | not tried | 1e-3 to 5e-3 |

What is as small as the last line lies within what other kernels cost honestly at int8 and int4, and passes there; at
fp32 all that was tried is found. The decoding gate saw nothing of what gives numbers at all: whole texts and answers
are wrong alike. Rounding costs trained models less: for `capitals` at int4 unrounded sums are 1.3e-4 away, so a bar of
one's own may be tighter (`reference: {maxMedianKL: 0.001}`).
Recording costs 0.05 CPU seconds at a vocabulary of 151,936, comparing 0.1.

## What the check costs

accelerate loads one layer of the source at a time straight from its safetensors, in single precision; the artifact is
loaded as it serves. How many tokens are compared depends on the model: 2^34 by weights, 48 at least, 512 at
most (for the tables above still all 1,000 of the texts). Measured by hand with a random Qwen2-shaped model of 0.5 B
(bf16, vocabulary 151,936) at int4, on two cores that others used too (2026-11-29):

- The check alone, when it still read 65 tokens (now 50): 11.5 CPU seconds, at most 1,226 MiB of memory (mapped files
  apart), 363 of them for the imports. Its largest layer is the head: 519 MiB in single precision. At int8
  20.5 s and 1,401 MiB, at fp32 5.7 and 1,375, at fp16 13.2 and 2,269.
- `olive run` alone 38.5 CPU seconds and 6,212 MiB, `reconciler apply` 55.0 and 1,500, one after the other on a busy
  machine; with mapped files 6,686 and 2,772. The worker makes Olive hold less
  ([decision 0021](decisions/0021-lean-olive.md)): the same configuration with that alone, 31.1 and 1,034.
- With an adapter each weight gets what PEFT computes that the adapter adds to it, when it is loaded.
- Decoding: of the same model at int4 53 tokens, of them 26 one by one, 3 CPU seconds, of them 0.9 to load it. It is
  loaded in the place of the one that answered. One token by itself costs 0.03 s, one of a whole text 0.015 s, so all of
  300 cost 13 s, for those who ask for them (`decoding: {tokens: 300}`, [done for models of real size](real-models.md)).
  The tiny ones: 300 tokens, of them 284 one by one, 0.1 to 0.3 s; across 4,096 tokens 2 to 5 s.
"""

_INTRODUCTION = """\
# Which conversions are faithful

<!-- Generated by `python -m bench.fidelity`: edit that. -->

Tiny models of each family, converted at each precision with the pinned tools and compared with their sources on the
texts of `domain/measured.py`, by the code that every conversion goes through. All but `capitals` are random: they lose
more by rounding than any trained model, so bars that let them pass let honest quantization pass. The families after
`capitals` are known to come out wrong (docs/architectures.md): the table of architectures refuses them before a
conversion; here they are converted all the same, to see that the gates alone would find them out. The last of them,
`phi3-long-early-v4`, is right for whole texts and goes wrong in answers: its rotation changes after 256 tokens, and the
runtime changes over at 4,096.

- **top-1, mean KL, perplexity ratio**: the artifact as it will serve, against the source as it is: what the conversion
  costs, rounding included.
- **wiring KL**: against the source that computes with the artifact's own weights. The rounded ones (int4, int8) are
  read back out of it; at fp16 the source's weights and the tables of its rotation are halved. For this the artifact
  does its sums in single precision (accuracy level 1 in a copy of the graph; at fp16 weights are widened when they are
  used): coarser sums would hide small mistakes. What is left is not explained by rounding.
- **rounding**: how far the row of weights that lies furthest in the artifact is from the source's, in units of what
  rounding to the nearest step costs on average (root mean squares). The tools' own rounding lies below 1.25, with every
  algorithm; codes that are one too high cost 3.5, other weights ten and more. At most 2.75 is let through.

- **decoding KL**: the served files in the runtime that serves, token by token against the whole text (median, of the
  part of the text where it is worst). **tokens read**: how many one by one, of a text how long. Small models go across
  the original context of a stretched rotation, the sliding window and twice the window; where the budget does not allow
  it the gate says so.
- **tokenizer**: texts that the runtime reads or writes otherwise than the source's tokenizer, of those that were tried.

The texts follow each other in rows as long as the context; where a stretched rotation has other factors beyond them,
they are repeated until there. The artifact reads a row in pieces, the last two tokens one by one, so that the cache of
the runtime is tested too.

"""
