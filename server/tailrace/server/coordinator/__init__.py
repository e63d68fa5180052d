"""The use cases: what a caller may ask of tasks and leases, on whichever partition they live."""
