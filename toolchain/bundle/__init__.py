"""What is sent to a device: wheels, models, the runner, and their manifest."""
