"""Checks of data sets on disk: image files, whole tasks, and the data node of a config."""
