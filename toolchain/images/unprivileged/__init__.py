"""Images made by a user who is not root."""
