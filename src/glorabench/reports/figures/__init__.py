"""Figures: SVG for the report and for files."""
