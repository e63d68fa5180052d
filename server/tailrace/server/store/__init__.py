"""Where tasks are kept: one narrow protocol, one folder for each database behind it."""
