"""What a network gives on this machine, for inputs that come from elsewhere."""
