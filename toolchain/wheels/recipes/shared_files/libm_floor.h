// Included before everything else for targets whose libm has fmod and fmodf twice: glibc 2.38 gave
// them a new version that sets errno without the old wrapper. This asks for the one before.
// EDGEWRIGHT_LIBM is its version.
#ifndef EDGEWRIGHT_LIBM_FLOOR_H_
#define EDGEWRIGHT_LIBM_FLOOR_H_

#define EDGEWRIGHT_TEXT_OF(version) #version
#define EDGEWRIGHT_OLD(name, version) \
  __asm__(".symver " #name ", " #name "@" EDGEWRIGHT_TEXT_OF(version))

// Where a file doesn't call them, the assembler drops these.
EDGEWRIGHT_OLD(fmod, EDGEWRIGHT_LIBM);
EDGEWRIGHT_OLD(fmodf, EDGEWRIGHT_LIBM);

#endif  // EDGEWRIGHT_LIBM_FLOOR_H_
