"""A session as code that computes its numbers again, without mechtui, and proves them.

program    a session and what was on the screen -> sections of prose and code
nnsight    the same for nnsight
loading    the section that loads the model
wanted     the numbers of an answer as text, and the code that compares them
script     the sections as a .py file
notebook   the sections as a .ipynb file
command    `mechtui export`: ask the model process, write the file
"""
