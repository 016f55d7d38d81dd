"""What a user may add, as a user would: the folder is what `EDGEWRIGHT_PLUGINS` names."""
