"""One file per gate: its bars, how it measures and how it judges."""
