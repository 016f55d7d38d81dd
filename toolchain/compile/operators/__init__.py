"""What TVM's importer lacks or takes wrongly: one module a rule that writes it otherwise."""

KIND = "operators"  # the folder of a user's own rules
