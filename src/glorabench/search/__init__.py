"""Search: the paths of a supernet, how training draws them, and how the best one is found."""
