"""Images that are drawn from code."""
