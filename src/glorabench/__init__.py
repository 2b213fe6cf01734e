"""glorabench: is GLoRA really better than LoRA, on this backbone, for this budget?"""

__version__ = "0.1.0"
