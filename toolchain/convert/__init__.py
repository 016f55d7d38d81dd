"""From one form of a network to another, each checked against its source."""
