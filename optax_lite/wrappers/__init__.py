"""What takes a transformation and decides when, on which leaves and with which numbers it runs, or averages beside it."""
