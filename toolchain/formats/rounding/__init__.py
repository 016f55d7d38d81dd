"""What rounded numbers of a file stand for: read and checked before anything is made of it."""
