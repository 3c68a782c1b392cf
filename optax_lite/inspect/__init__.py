"""Look at an optimizer and its state from outside: tables, measurements, transfers of a state."""
