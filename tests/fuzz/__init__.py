"""Input that nobody meant well, from seeds: `python -m tests.fuzz [COUNT] [--only KIND] [--seed N] [--first N]`.

Whatever stands in a line, a file, a frame or a model's folder is read, or refused in one sentence: no other error, no
hang, no memory that the input does not account for.

kinds     what is read, by which part of the program, and which refusals it has
mutate    what is done to good input
run       one kind, many inputs
"""
