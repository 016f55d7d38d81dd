"""A runtime that a user added."""
