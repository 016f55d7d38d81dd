"""The report's page kept fresh in a browser of this machine."""
