"""Networks that nobody here wrote: what is right, and what the pipeline makes of them."""
