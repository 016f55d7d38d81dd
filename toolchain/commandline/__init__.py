"""What a user of the command line meets: options, progress, tables, text for a terminal."""
