"""The source graph of a compilation: which form of a network is imported, and how."""
