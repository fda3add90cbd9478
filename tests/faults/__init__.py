"""Faults, put in one by one: the n-th read, write, allocation and await fails, n = 1 until nothing is left to fail.

`python -m tests.faults` goes through all of them, and kills the real model process at every stage.
"""
