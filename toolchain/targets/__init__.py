"""What we build for: `catalogue` reads targets.toml, `instruction_sets` knows the CPUs."""

from toolchain.targets.catalogue import (
    LOWEST_GLIBC,
    Caches,
    Target,
    all_targets,
    of_this_machine,
    target,
)

__all__ = ["LOWEST_GLIBC", "Caches", "Target", "all_targets", "of_this_machine", "target"]
