"""Stand-ins for the runtimes that the runner imports; this folder goes on its PYTHONPATH."""
