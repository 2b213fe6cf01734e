"""Training: one config makes one record, many make a sweep."""
