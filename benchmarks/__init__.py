"""Speed, printed as ratios to optax in the same process; off by default, run with `make bench`."""
