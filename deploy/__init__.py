"""Puts things on devices and runs them there."""
