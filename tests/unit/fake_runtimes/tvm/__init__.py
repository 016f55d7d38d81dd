"""Stand-in for TVM."""
