"""Models: find them, fetch them, load them.

names.py  what a name means: embedded, package, folder, file, hub id
load.py   a place with weights -> Model
gguf.py   a .gguf file -> a folder with safetensors, once
hub.py    the local Hugging Face cache, and downloads into it

Neither names.py nor hub.py imports torch: a model that is not there is named before that.
"""
