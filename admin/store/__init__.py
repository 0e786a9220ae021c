"""What is kept: SQLAlchemy Core over SQLite or PostgreSQL. One module per table, each function given a connection."""
