// What the compiler writes into model.cpp and the runtime executes: tensors with their places, kernels in their order.
#pragma once

#include <stdint.h>

#include "loadstone_model.h"

// The parts of TVM's and DLPack's C interfaces that compiled kernels speak.
struct DataType {
  uint8_t code, bits;
  uint16_t lanes;
};

struct DLTensor {
  void *data;
  struct {
    int32_t type, id;
  } device;
  int32_t ndim;
  DataType dtype;
  const int64_t *shape;
  const int64_t *strides;  // null: compact
  uint64_t byte_offset;
};

struct Any {
  int32_t type_index;
  uint32_t zero_padding;
  union {
    void *v_ptr;
    int64_t v_int64;
  };
};

typedef int32_t (*Kernel)(void *self, const Any *args, int32_t count, Any *result);

namespace loadstone {

struct Tensor {
  uint8_t in_weights;  // else in the arena
  uint64_t offset;
  int32_t ndim;
  const int64_t *shape;
  DataType dtype;
};

struct Step {
  Kernel kernel;
  const char *name;
  int32_t first, count;  // of `arguments`
};

struct Plan {
  const char *name;
  double tolerance;
  const unsigned char *weights;
  uint64_t arena_bytes;
  const Tensor *tensors;
  int32_t tensor_count;
  const int32_t *arguments;  // indices of tensors
  int32_t argument_count;
  const Step *steps;
  int32_t step_count;
  const loadstone_tensor *inputs;
  const int32_t *input_tensors;
  int32_t input_count;
  const loadstone_tensor *outputs;
  const int32_t *output_tensors;
  int32_t output_count;
};

extern const Plan plan;

}  // namespace loadstone
