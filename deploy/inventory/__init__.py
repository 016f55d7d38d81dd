"""inventory.yml: what it may say, read and edited."""
