"""Who waits for which task, and telling them."""
