"""Independent numpy formulas that the tests compare the library with.
They follow the papers and share no code with the library."""
