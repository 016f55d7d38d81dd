"""Accuracy on a user's own labelled images."""
