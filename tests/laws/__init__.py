"""Laws that the rows keep."""
