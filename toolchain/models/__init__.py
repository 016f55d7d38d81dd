"""The models we know, which one a command means, and what conversion leaves of it."""
