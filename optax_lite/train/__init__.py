"""Training loops: one compiled step, and a whole fit."""
