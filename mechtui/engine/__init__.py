"""Runs of a model, resumed instead of repeated; edits as hooks; answers to questions.

api.py        the door: Engine, OpenSession, Run. What answers questions imports this module and no other
texts.py      a session's texts as the model reads them; run.py: one run as whoever answers a question sees it
runner.py     runs a model from where resume.py plans it to begin; keeps traces (trace.py) in a store (trace_store.py)
reading.py    what is read of a trace
variants.py   many variants of one run at once
forward/      the pieces of a forward pass, and how a block runs
apply.py      what each op does to a tensor at its hook point; overlap.py: how much two runs share
givens.py     what hook edits take from elsewhere; vectors.py, vector_files.py: steering vectors, lengths.py: their size
text_readings.py  what many texts leave at one place, of which vectors are made
needs.py      what a view wants kept of a run
readout.py    how the residual stream is written and read; weights.py: weights in the field's own orientation
cards.py      what every head of a model does on random repeats (repeats.py), measured once and kept on the disk
ledger.py     on top of the door: what each write to the stream says about a logit
model.py      the model itself: the bridge, its tokenizer, its shape
"""
