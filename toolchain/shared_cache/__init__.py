"""One cache for a team: a second level of the store, in a place that others write to as well."""
