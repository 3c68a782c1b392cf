"""Keep calls as data, make `(init, update)` of them, and lift rules about arrays to trees."""
