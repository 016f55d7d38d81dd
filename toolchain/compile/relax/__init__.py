"""Passes over the graph of a network, in Relax."""
