"""One module a wheel: its data and the function that builds it in a container."""
