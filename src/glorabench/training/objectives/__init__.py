"""Objectives: loss, predictions and outcomes of a kind of task."""
