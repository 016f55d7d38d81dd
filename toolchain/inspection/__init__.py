"""What a model file is before it is converted: signature, operators, costs, who takes it."""
