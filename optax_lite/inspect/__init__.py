"""What looks at an optimizer and its state from outside: tables, measurements, and how a state is
carried on.
"""
