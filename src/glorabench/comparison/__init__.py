"""Comparisons of configurations, from records: pairs of runs, differences with intervals, pages of claims."""
