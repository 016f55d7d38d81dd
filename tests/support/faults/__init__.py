"""What the tests of faults share: a device, faults at system calls, links, power and disks."""
