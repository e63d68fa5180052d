"""The embedded store: one SQLite file, one process, nothing else to install."""
