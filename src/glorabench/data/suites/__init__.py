"""Suites of image tasks on disk, a file for each."""
