"""glorabench in your own code: adapt a network, merge it, save it, search a path. No Hydra, no Lightning."""
