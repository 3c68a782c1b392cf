"""Transformations around another one: they decide when, where and with which numbers it runs, or
average its parameters.
"""
