"""Lines, read and written: parse and format are each other's inverse. docs/lines.md has the grammar.

words.py    the words of a line, numbers and quoted text, and the error that points at a place
places.py   sites and positions
edits.py    edit lines; what an op takes behind its site is in session/ops
vectors.py  steering vectors
saes.py     dictionaries of features
"""
