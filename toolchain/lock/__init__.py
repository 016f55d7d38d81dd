"""The pinned inputs of every build: what they are, where they come from, their renewal."""
