"""Devices for those who have none."""
