"""Benchmarks against installed peers. Run by hand (`make bench`), never by the tests: a figure proves nothing."""
