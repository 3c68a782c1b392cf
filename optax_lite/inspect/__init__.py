"""Look at an optimizer and its state from outside: tables, measurements, and transfers of a state."""
