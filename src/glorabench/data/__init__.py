"""Data: tasks by modality, their splits and their caches; knows no backbone."""
