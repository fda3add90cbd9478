"""What the user is doing, as frozen data: the session, its lines of text, its history, its file."""
