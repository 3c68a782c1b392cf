"""Draw a sweep."""
