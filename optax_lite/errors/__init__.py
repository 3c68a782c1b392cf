"""Explain mistakes: wrong calls, names from other libraries, compositions that undo each other,
foreign states.
"""
