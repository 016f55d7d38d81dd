"""Small programs that use one network: what a user begins with."""
