"""Calls as they are written down: their records on the way to the database, how far each is, and how they are read."""
