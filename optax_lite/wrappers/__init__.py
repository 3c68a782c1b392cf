"""What takes a transformation and decides when, where or with which numbers it runs."""
