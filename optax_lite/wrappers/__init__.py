"""What takes a transformation: accumulation, skipping, and other things around an optimizer."""
