"""Parameter-efficient methods: one file each; they import torch and `backbones.base` only."""
