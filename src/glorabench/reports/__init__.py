"""Reports: words and pictures from numbers."""
