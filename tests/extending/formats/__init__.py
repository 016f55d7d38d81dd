"""Kinds of model file that nobody has."""
