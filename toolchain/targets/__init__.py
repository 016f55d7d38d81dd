"""What we build for: `target` reads targets.toml, `instruction_sets` knows the CPUs."""

from toolchain.targets.target import (
    LOWEST_GLIBC,
    Caches,
    Target,
    all_targets,
    of_this_machine,
    target,
)

__all__ = ["LOWEST_GLIBC", "Caches", "Target", "all_targets", "of_this_machine", "target"]
