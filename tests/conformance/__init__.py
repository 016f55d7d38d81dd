"""Networks that nobody here wrote, through the product's own pipeline, and what became of each."""
