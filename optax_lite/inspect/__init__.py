"""Views of an optimizer and its state from outside: tables, measurements, and how to carry a state
on.
"""
