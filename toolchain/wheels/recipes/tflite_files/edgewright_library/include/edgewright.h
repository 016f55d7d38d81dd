/* Networks of a release in a C program on the device, by TensorFlow Lite or TVM.
 *
 *     edgewright_network *network;
 *     if (edgewright_load("mobilenetv3-large", NULL, &network) != EDGEWRIGHT_OK) {
 *       fprintf(stderr, "%s\n", edgewright_error());
 *       return 1;
 *     }
 *     edgewright_set(network, NULL, EDGEWRIGHT_FLOAT32, values, count);
 *     edgewright_run(network);
 *     edgewright_get(network, NULL, EDGEWRIGHT_FLOAT32, scores, classes);
 *     edgewright_free(network);
 *
 * Preprocessing, labels, state and threads come from the release. A function that can fail gives a
 * status; `edgewright_error` then says in one line what happened and what to do. A network serves
 * one thread at a time. C99 and later; edgewright.hpp is the same for C++.
 */
#ifndef EDGEWRIGHT_H
#define EDGEWRIGHT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of what a program relies on below. A library of another number refuses to load anything. */
#define EDGEWRIGHT_ABI 3

#if defined(__GNUC__)
#define EDGEWRIGHT_API __attribute__((visibility("default")))
#else
#define EDGEWRIGHT_API
#endif

typedef enum edgewright_status {
  EDGEWRIGHT_OK = 0,
  EDGEWRIGHT_NOT_DEPLOYED = 1,   /* the release holds no such model, batch or variant */
  EDGEWRIGHT_INPUT_ERROR = 2,    /* what was given is not what the network or function takes */
  EDGEWRIGHT_MEANING_ERROR = 3,  /* nothing says how a picture becomes the input, or what is out */
  EDGEWRIGHT_RUNTIME_ERROR = 4,  /* the runtime can't load the model, or failed */
  EDGEWRIGHT_RELEASE_ERROR = 5,  /* the release can't be read */
  EDGEWRIGHT_ABI_ERROR = 6,      /* the program was compiled for another release's library */
  EDGEWRIGHT_MEMORY_ERROR = 7    /* there is not enough memory */
} edgewright_status;

typedef enum edgewright_type {
  EDGEWRIGHT_BOOL = 1,    /* a byte, 0 or 1 */
  EDGEWRIGHT_FLOAT16 = 2, /* IEEE 754's, as uint16_t */
  EDGEWRIGHT_FLOAT32 = 3,
  EDGEWRIGHT_FLOAT64 = 4,
  EDGEWRIGHT_INT8 = 5,
  EDGEWRIGHT_INT16 = 6,
  EDGEWRIGHT_INT32 = 7,
  EDGEWRIGHT_INT64 = 8,
  EDGEWRIGHT_UINT8 = 9,
  EDGEWRIGHT_UINT16 = 10,
  EDGEWRIGHT_UINT32 = 11,
  EDGEWRIGHT_UINT64 = 12
} edgewright_type;

typedef struct edgewright_network edgewright_network;

/* An input or output. `scale` is 0 where numbers stand for themselves; else
 * real = scale * (number - zero). */
typedef struct edgewright_tensor {
  const char *name;
  edgewright_type type;
  size_t rank;
  const int64_t *shape; /* the batch first; row-major */
  size_t count;         /* numbers in it */
  double scale;
  int64_t zero;
} edgewright_tensor;

/* What a network is; valid until it is freed. Texts that nothing says are empty. */
typedef struct edgewright_description {
  const char *name;
  const char *runtime;
  const char *variant; /* such as int8 */
  const char *task;    /* classification, segmentation, detection, recognition, regression */
  const char *release; /* its id */
  size_t batch;        /* samples of a call */
  size_t threads;
  const edgewright_tensor *inputs; /* those with state too */
  size_t input_count;
  const edgewright_tensor *outputs;
  size_t output_count;
  const char *const *labels; /* of the classes, in the order of the outputs */
  size_t label_count;
  const char *opt_level; /* such as O3; empty for a runtime without such levels */
} edgewright_description;

/* What to load. All 0 or NULL takes what is usual. */
typedef struct edgewright_options {
  const char *release; /* its folder, or a link to it; the one that this library was loaded from */
  const char *runtime; /* tflite or tvm; the first of them that the release names */
  const char *variant; /* as the network was trained, where that is there */
  size_t batch;        /* the smallest that is deployed */
  size_t threads;      /* what the model's metadata says, else 1; under tvm the first network's */
  const char *opt_level; /* of tvm, such as O2; the highest that is there */
} edgewright_options;

typedef struct edgewright_class {
  const char *label; /* `class N` where the release has no names; valid until the next call */
  size_t number;
  double score;
} edgewright_class;

/* An object in a picture; edges in pixels of the picture. */
typedef struct edgewright_box {
  const char *label; /* `class N` where the release has no names; valid until the next call */
  size_t number;
  double score; /* of 1 */
  double left;
  double top;
  double right;
  double bottom;
} edgewright_box;

/* EDGEWRIGHT_ABI of the library. */
EDGEWRIGHT_API int edgewright_abi(void);

/* What the last call of this thread that failed has to say: one line, valid until the next fails. */
EDGEWRIGHT_API const char *edgewright_error(void);

/* As `edgewright_load`, for a program that was compiled for `abi`. */
EDGEWRIGHT_API edgewright_status edgewright_load_for_abi(int abi, const char *name,
                                                         const edgewright_options *options,
                                                         edgewright_network **network);

/* Loads a model of a release by its name.
 *
 * options: NULL takes what is usual.
 * network: set to the network, which `edgewright_free` ends; to NULL where it fails.
 */
static inline edgewright_status edgewright_load(const char *name,
                                                const edgewright_options *options,
                                                edgewright_network **network) {
  return edgewright_load_for_abi(EDGEWRIGHT_ABI, name, options, network);
}

/* Ends a network; NULL is passed over. */
EDGEWRIGHT_API void edgewright_free(edgewright_network *network);

EDGEWRIGHT_API const edgewright_description *edgewright_describe(const edgewright_network *network);

/* Gives an input its numbers for the next run. Each input without state is given anew for each.
 *
 * input: its name; NULL where it is the only one without state.
 * type: of `values`: the input's, or one that goes into it without loss of kind (int64 into int32,
 *     as long as each number fits; float64 into float32). Real numbers for an input with a scale
 *     are rounded by it.
 * count: numbers in `values`; the input's own.
 */
EDGEWRIGHT_API edgewright_status edgewright_set(edgewright_network *network, const char *input,
                                                edgewright_type type, const void *values,
                                                size_t count);

/* Gives the only input a picture, resized, fitted and scaled as the release says.
 *
 * Where the input is bytes of just this size, they are taken as they are.
 *
 * pixels: (height, width, channels) of bytes: grey, RGB or RGBA.
 */
EDGEWRIGHT_API edgewright_status edgewright_set_picture(edgewright_network *network,
                                                        const uint8_t *pixels, size_t height,
                                                        size_t width, size_t channels);

/* Gives the only input the spectrogram of a sound, as the release describes it.
 *
 * samples: of one channel, between -1 and 1, 16,000 a second; silence follows a short one.
 */
EDGEWRIGHT_API edgewright_status edgewright_set_sound(edgewright_network *network,
                                                      const float *samples, size_t count);

/* One inference. What it gives for the state is given to the next. */
EDGEWRIGHT_API edgewright_status edgewright_run(edgewright_network *network);

/* Copies an output of the last run.
 *
 * output: its name; NULL where it is the only one.
 * type: the output's; or EDGEWRIGHT_FLOAT32 for real numbers, also those that whole ones stand for.
 * count: of numbers that `values` holds; the output's own.
 */
EDGEWRIGHT_API edgewright_status edgewright_get(const edgewright_network *network,
                                                const char *output, edgewright_type type,
                                                void *values, size_t count);

/* The best classes of the last run, best first, of a network with one row of scores.
 *
 * classes: takes up to `count` of them.
 * count: set to how many there are, where there are fewer classes.
 */
EDGEWRIGHT_API edgewright_status edgewright_classify(edgewright_network *network,
                                                     edgewright_class *classes, size_t *count);

/* The objects in the picture of the last run, the surest first, of a detector.
 *
 * score: what they must have at least; 0.25 is usual.
 * boxes: takes up to `count` of them.
 * count: set to how many there are, where there are fewer.
 */
EDGEWRIGHT_API edgewright_status edgewright_detect(edgewright_network *network, double score,
                                                   edgewright_box *boxes, size_t *count);

/* The class of each pixel of the picture of the last run, of a segmenter.
 *
 * classes: (height, width) of the picture; 255 where the network saw nothing of it.
 * count: of bytes that `classes` holds; height times width.
 */
EDGEWRIGHT_API edgewright_status edgewright_segment(const edgewright_network *network,
                                                    uint8_t *classes, size_t count);

/* Begins a sequence anew: every input with state is zeros again. */
EDGEWRIGHT_API void edgewright_reset(edgewright_network *network);

/* Seconds of the last run, without copying inputs and outputs. */
EDGEWRIGHT_API double edgewright_seconds(const edgewright_network *network);

#ifdef __cplusplus
}
#endif

#endif
