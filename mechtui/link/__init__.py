"""The wire between the UI and the model process: messages, frames, client."""
