"""Runs of a model, resumed instead of repeated; edits as hooks; answers to questions.

api.py        the door: Engine, OpenSession, Run. What answers questions imports this module and no other
runner.py     runs a model from where resume.py plans it to begin; keeps traces (trace.py) in a store (trace_store.py)
ledger.py     on top of the door: what each write to the stream says about a logit
reading.py    what is read of a trace
batches.py    many variants of one run at once
forward/      the pieces of a forward pass, and how a block runs
actions.py    edits resolved for a model and a prompt; resolve.py makes them, apply.py performs them
givens.py     what actions take from elsewhere; vectors.py, vector_files.py: steering vectors
needs.py      what a view wants kept of a run
readout.py    how the residual stream is written and read; weights.py: weights in the field's own orientation
model.py      the model itself: the bridge, its tokenizer, its shape
"""
