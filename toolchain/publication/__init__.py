"""Wheels as a folder that pip installs from, behind any web server that hands out files."""
