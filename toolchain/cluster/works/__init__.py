"""What a cluster makes: one module a kind of work."""
