"""Where a conversion trains: weights of the catalogue, pruning, clustering, int8 in mind."""
