"""What is chained: every transformation that is not an optimizer by itself."""
