"""Image folders and lists of the user: how they are read, split, surveyed and checked. Light: no torch."""
