// The runner of a bundle: checks its files, loads libmodel.so from its own folder, and runs it. `./run --help` says how.
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loadstone_model.h"
#include "sha256.h"

namespace {

enum Exit { DONE = 0, WRONG = 1, USAGE = 2, BROKEN = 3 };

const char HELP[] =
    "usage: run [--threads N] [--no-verify] COMMAND\n"
    "  --info              what the model takes and gives\n"
    "  --check             run the payloads in check/ and compare with the reference outputs\n"
    "  --bench SECONDS     time inferences, one after the other\n"
    "  --stream            inputs from standard input, one inference after the other, outputs to standard output\n"
    "  IN... -o PREFIX     one file of raw little-endian values per input; outputs go to PREFIX0.bin, PREFIX1.bin ...\n"
    "exit code: 0 done, 1 outputs differ, 2 usage, 3 a file is missing or altered, or the machine refused\n";

char folder[4096];

struct Api {
  decltype(&loadstone_abi) abi;
  decltype(&loadstone_name) name;
  decltype(&loadstone_tolerance) tolerance;
  decltype(&loadstone_inputs) inputs;
  decltype(&loadstone_outputs) outputs;
  decltype(&loadstone_input) input;
  decltype(&loadstone_output) output;
  decltype(&loadstone_open) open;
  decltype(&loadstone_run) run;
  decltype(&loadstone_error) error;
} api;

struct Buffers {
  void **inputs, **outputs;
};

[[noreturn]] void quit(int code, const char *what, const char *where) {
  fprintf(stderr, "run: %s: %s\n", where, what);
  exit(code);
}

void path_of(char *out, size_t size, const char *name) {
  if (snprintf(out, size, "%s/%s", folder, name) >= static_cast<int>(size)) quit(BROKEN, "path is too long", name);
}

void find_folder() {
  ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
  if (length <= 0) quit(BROKEN, "cannot be read", "/proc/self/exe");
  folder[length] = 0;
  char *slash = strrchr(folder, '/');
  if (slash) *slash = 0;
}

// Every file that SHA256SUMS lists must be there as it was written.
void verify() {
  char path[4096], line[4096], hex[65];
  path_of(path, sizeof path, "SHA256SUMS");
  FILE *sums = fopen(path, "r");
  if (!sums) quit(BROKEN, "is missing; copy the whole bundle", path);
  int seen = 0;
  while (fgets(line, sizeof line, sums)) {
    line[strcspn(line, "\r\n")] = 0;
    if (strlen(line) < 67) quit(BROKEN, "is damaged; copy the bundle again", path);
    line[64] = 0;
    char name[4096];
    path_of(name, sizeof name, line + 66);
    if (!sha256::of_file(name, hex)) quit(BROKEN, "is missing; copy the whole bundle", name);
    if (strcmp(hex, line) != 0) quit(BROKEN, "was altered; copy the bundle again", name);
    ++seen;
  }
  fclose(sums);
  if (!seen) quit(BROKEN, "lists no file; copy the bundle again", path);
}

template <typename F>
void resolve(void *library, F &slot, const char *name) {
  slot = reinterpret_cast<F>(dlsym(library, name));
  if (!slot) quit(BROKEN, "has no such function; it is not a model of this runner", name);
}

void load() {
  char path[4096];
  path_of(path, sizeof path, "libmodel.so");
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) quit(BROKEN, dlerror(), "libmodel.so");
  resolve(library, api.abi, "loadstone_abi");
  resolve(library, api.name, "loadstone_name");
  resolve(library, api.tolerance, "loadstone_tolerance");
  resolve(library, api.inputs, "loadstone_inputs");
  resolve(library, api.outputs, "loadstone_outputs");
  resolve(library, api.input, "loadstone_input");
  resolve(library, api.output, "loadstone_output");
  resolve(library, api.open, "loadstone_open");
  resolve(library, api.run, "loadstone_run");
  resolve(library, api.error, "loadstone_error");
  if (api.abi() != LOADSTONE_ABI) quit(BROKEN, "has another interface than this runner", path);
}

void *room(size_t bytes) {
  void *made = calloc(bytes ? bytes : 1, 1);
  if (!made) quit(BROKEN, "out of memory", "run");
  return made;
}

Buffers buffers() {
  Buffers made;
  made.inputs = static_cast<void **>(room(sizeof(void *) * static_cast<size_t>(api.inputs() + 1)));
  made.outputs = static_cast<void **>(room(sizeof(void *) * static_cast<size_t>(api.outputs() + 1)));
  for (int32_t at = 0; at < api.inputs(); ++at) made.inputs[at] = room(api.input(at)->bytes);
  for (int32_t at = 0; at < api.outputs(); ++at) made.outputs[at] = room(api.output(at)->bytes);
  return made;
}

loadstone_model *open_model(int threads) {
  loadstone_model *model = api.open(threads);
  if (!model) quit(BROKEN, api.error(), "libmodel.so");
  return model;
}

void infer(loadstone_model *model, const Buffers &data) {
  if (api.run(model, data.inputs, data.outputs) != 0) quit(BROKEN, api.error(), "libmodel.so");
}

void read_file(const char *path, void *data, size_t bytes) {
  FILE *file = fopen(path, "rb");
  if (!file) quit(USAGE, "cannot be opened", path);
  char after;
  if (fread(data, 1, bytes, file) != bytes || fread(&after, 1, 1, file) != 0)
    quit(USAGE, "has not the size of its tensor; see --info", path);
  fclose(file);
}

void describe(const char *kind, const loadstone_tensor *tensor) {
  printf("%s %s: %s [", kind, tensor->name, tensor->dtype);
  for (int32_t at = 0; at < tensor->rank; ++at) printf(at ? ", %lld" : "%lld", static_cast<long long>(tensor->shape[at]));
  printf("], %zu bytes\n", tensor->bytes);
}

int info() {
  printf("model %s\n", api.name());
  for (int32_t at = 0; at < api.inputs(); ++at) describe("input", api.input(at));
  for (int32_t at = 0; at < api.outputs(); ++at) describe("output", api.output(at));
  return DONE;
}

double value_at(const loadstone_tensor *tensor, const void *data, size_t at) {
  if (!strcmp(tensor->dtype, "float32")) return static_cast<const float *>(data)[at];
  if (!strcmp(tensor->dtype, "float64")) return static_cast<const double *>(data)[at];
  if (!strcmp(tensor->dtype, "int64")) return static_cast<double>(static_cast<const int64_t *>(data)[at]);
  if (!strcmp(tensor->dtype, "int32")) return static_cast<const int32_t *>(data)[at];
  return static_cast<const unsigned char *>(data)[at];  // bytes of anything else must be equal
}

size_t values_in(const loadstone_tensor *tensor) {
  size_t count = 1;
  for (int32_t at = 0; at < tensor->rank; ++at) count *= static_cast<size_t>(tensor->shape[at]);
  bool known = !strcmp(tensor->dtype, "float32") || !strcmp(tensor->dtype, "float64") || !strcmp(tensor->dtype, "int64") ||
               !strcmp(tensor->dtype, "int32");
  return known ? count : tensor->bytes;
}

// The largest |got - want| over the largest |want|; infinite when a value is not finite.
double relative_error(const loadstone_tensor *tensor, const void *got, const void *want) {
  double error = 0, scale = 0;
  for (size_t at = 0; at < values_in(tensor); ++at) {
    double have = value_at(tensor, got, at), wanted = value_at(tensor, want, at);
    if (!isfinite(have)) return INFINITY;
    error = fmax(error, fabs(have - wanted));
    scale = fmax(scale, fabs(wanted));
  }
  return scale > 0 ? error / scale : error;
}

int check(int threads) {
  loadstone_model *model = open_model(threads);
  Buffers data = buffers();
  int payloads = 0, wrong = 0;
  for (;; ++payloads) {
    char name[128], path[4096];
    snprintf(name, sizeof name, "check/%d-input0.bin", payloads);
    path_of(path, sizeof path, name);
    if (access(path, R_OK) != 0) break;
    for (int32_t at = 0; at < api.inputs(); ++at) {
      snprintf(name, sizeof name, "check/%d-input%d.bin", payloads, at);
      path_of(path, sizeof path, name);
      read_file(path, data.inputs[at], api.input(at)->bytes);
    }
    infer(model, data);
    for (int32_t at = 0; at < api.outputs(); ++at) {
      const loadstone_tensor *tensor = api.output(at);
      void *want = room(tensor->bytes);
      snprintf(name, sizeof name, "check/%d-output%d.bin", payloads, at);
      path_of(path, sizeof path, name);
      read_file(path, want, tensor->bytes);
      double error = relative_error(tensor, data.outputs[at], want);
      bool good = error <= api.tolerance();
      wrong += !good;
      printf("payload %d, %s: relative error %.3g, %s\n", payloads, tensor->name, error, good ? "ok" : "WRONG");
      free(want);
    }
  }
  if (!payloads) quit(BROKEN, "holds no payload", "check");
  return wrong ? WRONG : DONE;
}

double seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

int by_size(const void *a, const void *b) {
  double left = *static_cast<const double *>(a), right = *static_cast<const double *>(b);
  return left < right ? -1 : left > right;
}

int bench(int threads, double duration) {
  const size_t most = 1 << 20;
  double *times = static_cast<double *>(room(most * sizeof(double)));
  double start = seconds();
  loadstone_model *model = open_model(threads);
  Buffers data = buffers();
  infer(model, data);
  double first = seconds() - start;
  size_t count = 0;
  for (double end = seconds() + duration; count < most && (seconds() < end || count < 3); ++count) {
    double begun = seconds();
    infer(model, data);
    times[count] = seconds() - begun;
  }
  qsort(times, count, sizeof(double), by_size);
  printf("{\"model\": \"%s\", \"inferences\": %zu, \"open_and_first_ms\": %.3f, \"p50_ms\": %.4f, \"p90_ms\": %.4f, \"min_ms\": %.4f}\n",
         api.name(), count, first * 1e3, times[count / 2] * 1e3, times[count * 9 / 10] * 1e3, times[0] * 1e3);
  return DONE;
}

int stream(int threads) {
  loadstone_model *model = open_model(threads);
  Buffers data = buffers();
  for (;;) {
    for (int32_t at = 0; at < api.inputs(); ++at) {
      size_t bytes = api.input(at)->bytes, got = fread(data.inputs[at], 1, bytes, stdin);
      if (got == 0 && at == 0 && bytes) return DONE;
      if (got != bytes) quit(USAGE, "ended inside an input", "standard input");
    }
    infer(model, data);
    for (int32_t at = 0; at < api.outputs(); ++at)
      if (fwrite(data.outputs[at], 1, api.output(at)->bytes, stdout) != api.output(at)->bytes)
        quit(BROKEN, "cannot be written", "standard output");
    fflush(stdout);
  }
}

int once(int threads, char **files, int count, const char *prefix) {
  if (count != api.inputs()) quit(USAGE, "takes another number of inputs; see --info", api.name());
  loadstone_model *model = open_model(threads);
  Buffers data = buffers();
  for (int32_t at = 0; at < count; ++at) read_file(files[at], data.inputs[at], api.input(at)->bytes);
  infer(model, data);
  for (int32_t at = 0; at < api.outputs(); ++at) {
    char path[4096];
    snprintf(path, sizeof path, "%s%d.bin", prefix, at);
    FILE *file = fopen(path, "wb");
    size_t bytes = api.output(at)->bytes;
    if (!file || fwrite(data.outputs[at], 1, bytes, file) != bytes || fclose(file) != 0) quit(BROKEN, "cannot be written", path);
  }
  return DONE;
}

struct Request {
  int threads = 0, file_count = 0;
  bool verify = true;
  const char *command = nullptr, *prefix = nullptr;
  double duration = 0;
  char **files = nullptr;
};

double number(const char *text, const char *option, double low, double high) {
  char *end = nullptr;
  double value = text ? strtod(text, &end) : low - 1;
  if (!text || *end || !(value >= low && value <= high)) quit(USAGE, "needs a number; see --help", option);
  return value;
}

Request parse(int argc, char **argv) {
  Request asked;
  asked.files = static_cast<char **>(room(sizeof(char *) * static_cast<size_t>(argc)));
  for (int at = 1; at < argc; ++at) {
    const char *word = argv[at], *next = at + 1 < argc ? argv[at + 1] : nullptr;
    if (!strcmp(word, "--threads")) {
      asked.threads = static_cast<int>(number(next, word, 0, 1024)), ++at;
    } else if (!strcmp(word, "--no-verify")) {
      asked.verify = false;
    } else if (!strcmp(word, "--bench")) {
      asked.command = word, asked.duration = number(next, word, 0, 1e6), ++at;
    } else if (!strcmp(word, "-o")) {
      asked.command = word, asked.prefix = next, ++at;
    } else if (!strcmp(word, "--info") || !strcmp(word, "--check") || !strcmp(word, "--stream") || !strcmp(word, "--help")) {
      asked.command = word;
    } else if (word[0] == '-' && word[1]) {
      quit(USAGE, "unknown option; see --help", word);
    } else {
      asked.files[asked.file_count++] = argv[at];
    }
  }
  if (!asked.command || (!strcmp(asked.command, "-o")) != (asked.file_count > 0) || (!strcmp(asked.command, "-o") && !asked.prefix))
    quit(USAGE, "what to do? see --help", "run");
  return asked;
}

}  // namespace

int main(int argc, char **argv) {
  Request asked = parse(argc, argv);
  if (!strcmp(asked.command, "--help")) return fputs(HELP, stdout), DONE;
  find_folder();
  if (asked.verify) verify();
  load();
  if (!strcmp(asked.command, "--info")) return info();
  if (!strcmp(asked.command, "--check")) return check(asked.threads);
  if (!strcmp(asked.command, "--bench")) return bench(asked.threads, asked.duration);
  if (!strcmp(asked.command, "--stream")) return stream(asked.threads);
  return once(asked.threads, asked.files, asked.file_count, asked.prefix);
}
