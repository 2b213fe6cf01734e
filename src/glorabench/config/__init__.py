"""Config: from words on a command line to a checked config, and from there to objects."""
