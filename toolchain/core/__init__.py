"""What everything here stands on: errors, the seam to commands, the store, the worker."""
