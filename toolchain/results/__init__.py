"""What was measured, as files, and the statistics computed from it."""
