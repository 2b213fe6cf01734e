"""Records: what one run says of itself, as files."""
