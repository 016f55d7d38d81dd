"""Puts a bundle on devices: plan, preflight, deployment, fleet."""
