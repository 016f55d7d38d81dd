"""Jobs on a cluster of Dask: what a job is, what asks for it, and what a worker does."""
