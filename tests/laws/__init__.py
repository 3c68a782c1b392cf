"""Laws that hold for every row of the table."""
