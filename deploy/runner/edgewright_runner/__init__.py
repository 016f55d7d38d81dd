"""Measures models on the device it runs on. It imports nothing of edgewright's host side."""
