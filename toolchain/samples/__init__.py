"""The inputs that a network is checked, calibrated and trained with."""
