"""A data set in parts, prepared and run a part at a time."""
