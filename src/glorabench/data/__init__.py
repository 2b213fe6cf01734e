"""Data sets: embedded suites and loaders of the benchmark tasks."""
