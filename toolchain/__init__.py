"""Makes things on this machine: images, wheels, models, bundles, reports."""
