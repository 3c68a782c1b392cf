"""What takes a transformation and decides when, where and with which numbers it runs, or keeps an
average beside it.
"""
