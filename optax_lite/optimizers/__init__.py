"""One file per method or family: its state, its rule, its chain."""
