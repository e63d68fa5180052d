"""Handing leases to whoever has room for them."""
