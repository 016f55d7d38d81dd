"""Tiles found by measuring on devices: the search, and the records that `compile` reads."""
