// A user's own program: links libmodel.so and runs one inference from standard input to standard output.
#include <stdio.h>
#include <stdlib.h>

#include "loadstone_model.h"

int main() {
  loadstone_model *model = loadstone_open(2);
  if (!model || loadstone_inputs() != 1 || loadstone_outputs() != 1 || loadstone_input(1) || loadstone_output(-1)) return 1;
  size_t in_bytes = loadstone_input(0)->bytes, out_bytes = loadstone_output(0)->bytes;
  // One byte off: the library takes memory of any alignment.
  char *in = (char *)malloc(in_bytes + 1) + 1, *out = (char *)malloc(out_bytes + 1) + 1;
  if (fread(in, 1, in_bytes, stdin) != in_bytes) return 2;
  const void *inputs[] = {in};
  void *outputs[] = {out};
  if (loadstone_run(model, inputs, outputs) != 0) return 3;
  loadstone_close(model);
  return fwrite(out, 1, out_bytes, stdout) == out_bytes ? 0 : 4;
}
