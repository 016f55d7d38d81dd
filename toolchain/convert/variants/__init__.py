"""How a variant is made: what the converters and tools of each kind of graph are told."""
