"""What every pane is, and what it is made of: no view, no app."""
