"""The process that fronts the store: takes tasks in, hands them out, tells who waits."""
