"""The model process: holds the model, runs it, answers questions about its runs."""
