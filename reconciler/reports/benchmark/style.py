"""How the page of a benchmark looks. Colours were chosen to be told apart by the colour-blind, and to have a contrast
of at least 4.5 to their ground, in light and dark; each series has a dash and a shape besides."""

from __future__ import annotations

STYLE = (
    """\
:root {
  color-scheme: light dark;
  --ground: #fbfbf9; --card: #ffffff; --ink: #1c1f24; --quiet: #5b626c; --line: #dcdfe4; --good: #0f6b45;
  --good-ground: #e9f5ee; --note: #7a4a00; --note-ground: #fdf3df;
  --s0: #0a62b0; --s1: #b04a00; --s2: #157347; --s3: #8a2f9c; --s4: #6b6100;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --card: #1c2026; --ink: #e9ebee; --quiet: #a3abb6; --line: #363c45; --good: #7fdcae;
    --good-ground: #16302a; --note: #f3c877; --note-ground: #33290f;
    --s0: #6fb6ff; --s1: #ffa45c; --s2: #63d19a; --s3: #e09af0; --s4: #d9cc55;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 32px 0 12px; overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; margin: 0 0 4px; }
p { margin: 0 0 8px; overflow-wrap: anywhere; }
.facts { color: var(--quiet); font-size: .9rem; }
.facts span { white-space: nowrap; }
.note { background: var(--note-ground); color: var(--note); padding: 8px 12px; border-radius: 6px; font-size: .95rem; }
.choice { background: var(--good-ground); border-left: 4px solid var(--good); border-radius: 6px; padding: 14px 16px; }
.choice strong { font-size: 1.6rem; color: var(--good); margin-left: 6px; }
.choice ul { margin: 8px 0 0; padding-left: 20px; color: var(--quiet); font-size: .95rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 16px 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
table.numbers, table.golden { width: 100%; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, table.golden td, table.golden th { text-align: left; }
table.golden td, table.golden th { white-space: normal; overflow-wrap: anywhere; min-width: 8em; vertical-align: top; }
thead th { color: var(--quiet); font-weight: 600; }
tbody th { font-weight: 500; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 20px;
  margin: 20px 0; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px;
  min-width: 0; }
figcaption p { color: var(--quiet); font-size: .9rem; }
figure .scroll { margin: 4px 0 0; }
figure table { font-size: .82rem; width: 100%; }
figure th, figure td { padding: 3px 6px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 13px; fill: var(--ink); font-family: inherit; }
svg .tick { fill: var(--quiet); font-size: 12px; }
svg .title { fill: var(--quiet); font-size: 13px; }
svg .label { font-weight: 600; paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .axis { stroke: var(--quiet); stroke-width: 1; }
svg .curve { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
svg .whisker { stroke-width: 1.6; opacity: .55; }
svg .leader { stroke-width: 1; }
svg .point { stroke: var(--card); stroke-width: 1; }
svg .curve.s1 { stroke-dasharray: 7 3; } svg .curve.s2 { stroke-dasharray: 2.5 3; }
svg .curve.s3 { stroke-dasharray: 9 3 2 3; } svg .curve.s4 { stroke-dasharray: 12 4; }
"""
    + "".join(
        f"svg .s{n}.curve, svg .s{n}.whisker, svg .s{n}.leader {{ stroke: var(--s{n}); }} "
        f"svg .s{n}.point, svg .s{n}.label {{ fill: var(--s{n}); }}\n"
        for n in range(5)
    )
    + """\
footer { margin-top: 32px; color: var(--quiet); font-size: .88rem; padding-top: 12px;
  border-top: 1px solid var(--line); }
@media (max-width: 520px) {
  figure { padding: 12px 8px; } th, td { padding: 5px 5px; } table { font-size: .82rem; }
  table.numbers th, table.numbers td { white-space: normal; } table.numbers tbody th { min-width: 6.5em; }
  figure table { font-size: .78rem; } svg text, svg .title { font-size: 15px; } svg .tick { font-size: 14px; }
}
@media print {
  :root { --ground: #fff; --card: #fff; --ink: #000; --quiet: #444; --line: #bbb; }
  main { max-width: none; padding: 0; } figure, .choice, tr { break-inside: avoid; } .scroll { overflow: visible; }
  .plots { grid-template-columns: 1fr 1fr; }
}
"""
)
