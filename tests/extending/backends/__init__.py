"""The twin, on the device, of a runtime that a user added."""
