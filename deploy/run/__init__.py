"""One input, or a few, through a network on a device, and what comes out."""
