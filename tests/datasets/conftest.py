"""A server with tiny benchmarks."""

from helpers.benchmarks import server  # noqa: F401 (a fixture)
