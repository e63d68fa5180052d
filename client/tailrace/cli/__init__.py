"""The ``tailrace`` command. Programs use ``tailrace.client``; nothing here is for them."""
