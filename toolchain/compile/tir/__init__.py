"""Schedules and passes over the loops of one function, in TensorIR."""
