"""What takes a transformation and decides on which leaves, or with which numbers, it runs."""
