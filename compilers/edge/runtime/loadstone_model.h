/* One compiled model: its kernels, weights and memory plan in libmodel.so, called through these functions.
 *
 * A model object runs one inference at a time; open one per thread that calls. Nothing but the C library is needed.
 */
#ifndef LOADSTONE_MODEL_H
#define LOADSTONE_MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOADSTONE_ABI 1

typedef struct loadstone_model loadstone_model;

typedef struct {
  const char *name;
  const char *dtype; /* as numpy names it: float32, int64, bool ... */
  int32_t rank;
  const int64_t *shape;
  size_t bytes; /* of the whole tensor, rows first, without gaps */
} loadstone_tensor;

/* LOADSTONE_ABI of the library. */
int32_t loadstone_abi(void);

/* The model's name, and the largest relative error its outputs may have against the reference. */
const char *loadstone_name(void);
double loadstone_tolerance(void);

int32_t loadstone_inputs(void);
int32_t loadstone_outputs(void);
const loadstone_tensor *loadstone_input(int32_t index);
const loadstone_tensor *loadstone_output(int32_t index);

/* A model on `threads` threads, the caller's among them; 0 takes every CPU this process may use. NULL on failure. */
loadstone_model *loadstone_open(int32_t threads);

/* One inference: a pointer to each input and to room for each output, in any alignment. 0, or -1 on failure. */
int32_t loadstone_run(loadstone_model *model, const void *const *inputs, void *const *outputs);

/* Why the last call on this thread failed. */
const char *loadstone_error(void);

void loadstone_close(loadstone_model *model);

#ifdef __cplusplus
}
#endif
#endif
