"""Search: the paths of a supernet, how training draws them, and how the best one is found."""

# of a search: raise it, and conf/search/_base.yaml, when the same config may find another winner
VERSION = 3
