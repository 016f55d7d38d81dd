"""The library for programs in C and C++ on devices, as a folder that a compiler is pointed at."""
