// libruy-dev's archives were compiled where strtol is C23's, which glibc has under another name
// since 2.38. They read decimal numbers with it; strtol does that the same way with any glibc.
#include <stdlib.h>

long __isoc23_strtol(const char* restrict text, char** restrict end, int base);

long __isoc23_strtol(const char* restrict text, char** restrict end, int base) {
  return strtol(text, end, base);
}
