"""Cross-built wheels: a recipe a module, the framework in `recipe`, `pack` and `audit`."""
