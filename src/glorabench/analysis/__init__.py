"""Analysis: numbers from records, without words and without torch."""
