"""Runs measurements on devices and brings them home."""
