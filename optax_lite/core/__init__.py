"""Keep calls as data, build `(init, update)` from them, and lift rules about arrays to trees."""
