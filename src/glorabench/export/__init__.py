"""Export: a finished run as a plain checkpoint, as an adapter of this package, or as one of Hugging Face peft."""

from glorabench.export.folder import load_exported as load

__all__ = ["load"]
