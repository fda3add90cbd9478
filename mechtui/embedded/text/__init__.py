"""The text that the embedded models learn from, made up from our own words and frames with a fixed seed."""
