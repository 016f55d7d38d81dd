"""What the kinds of model file do with graphs; the heavy libraries are imported here."""
