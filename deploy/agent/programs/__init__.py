"""Programs of one file that run on the device: each is sent, and started by itself."""
