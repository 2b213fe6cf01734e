"""What every task has in common."""

from __future__ import annotations


class LeakError(RuntimeError):
    """Somebody asked for test labels outside the one final test step."""
