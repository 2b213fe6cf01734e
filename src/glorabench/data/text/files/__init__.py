"""Texts of the user and of papers, as files on this machine: reading, splits, forms, checks, fake files. No torch."""
