"""The calls in progress, as they are watched."""
