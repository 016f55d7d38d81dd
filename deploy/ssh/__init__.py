"""The seam to devices: SSH, logins, and the ways a file goes there."""
