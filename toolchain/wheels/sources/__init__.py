"""The trees that wheels are built from: unpacked, patched, put together."""
