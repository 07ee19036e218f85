// Executes a plan: memory, a pool of threads, and the few functions that kernels compiled by TVM call back.
// No C++ library and no exceptions, so that a bundle needs the C library alone.
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"

using loadstone::plan;

namespace {

const size_t ALIGNMENT = 64;  // what kernels may assume of every tensor
const int SPINS = 4000;       // polls before a waiting thread sleeps: tens of microseconds

__thread char error_text[1024];

int fail(const char *kind, const char *text) {
  snprintf(error_text, sizeof error_text, "%s: %s", kind, text);
  return -1;
}

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// ---- threads ------------------------------------------------------------------------------------------------------

struct Group {  // TVM's TVMParallelGroupEnv
  void *sync_handle;
  int32_t num_task;
};

typedef int (*Task)(int task, Group *group, void *data);

struct Pool {
  int32_t threads;
  int32_t started;
  pthread_t *workers;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  uint64_t round;    // of work; odd ones do not differ from even ones
  int32_t sleeping;  // workers in the condition variable
  int32_t pending;   // workers that have not ended this round
  int32_t failed;
  int32_t arrived, passed;  // at a barrier inside a round
  int32_t stop;
  Task task;
  void *data;
  Group group;
};

struct Seat {
  Pool *pool;
  int32_t index;
};

__thread Pool *current;

void run_share(Pool *pool, int32_t index) {
  for (int32_t task = index; task < pool->group.num_task; task += pool->threads)
    if (pool->task(task, &pool->group, pool->data) != 0) __atomic_store_n(&pool->failed, 1, __ATOMIC_RELAXED);
}

uint64_t await_round(Pool *pool, uint64_t seen) {
  for (int spin = 0; spin < SPINS; ++spin) {
    uint64_t now = __atomic_load_n(&pool->round, __ATOMIC_ACQUIRE);
    if (now != seen) return now;
    relax();
  }
  pthread_mutex_lock(&pool->lock);
  ++pool->sleeping;
  while (pool->round == seen) pthread_cond_wait(&pool->wake, &pool->lock);
  --pool->sleeping;
  uint64_t now = pool->round;
  pthread_mutex_unlock(&pool->lock);
  return now;
}

void *work(void *given) {
  Seat seat = *static_cast<Seat *>(given);
  free(given);
  uint64_t seen = 0;
  for (;;) {
    seen = await_round(seat.pool, seen);
    if (__atomic_load_n(&seat.pool->stop, __ATOMIC_ACQUIRE)) return nullptr;
    run_share(seat.pool, seat.index);
    __atomic_sub_fetch(&seat.pool->pending, 1, __ATOMIC_ACQ_REL);
  }
}

void next_round(Pool *pool) {
  pthread_mutex_lock(&pool->lock);
  __atomic_add_fetch(&pool->round, 1, __ATOMIC_RELEASE);
  if (pool->sleeping) pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
}

int launch(Pool *pool, Task task, void *data, int32_t count) {
  pool->task = task;
  pool->data = data;
  pool->group.num_task = count > 0 ? count : pool->threads;
  pool->group.sync_handle = pool;
  pool->failed = pool->arrived = pool->passed = 0;
  if (pool->threads > 1 && pool->group.num_task > 1) {
    __atomic_store_n(&pool->pending, pool->threads - 1, __ATOMIC_RELAXED);
    next_round(pool);
    run_share(pool, 0);
    for (int spin = 0; __atomic_load_n(&pool->pending, __ATOMIC_ACQUIRE) > 0; ++spin)
      if (spin < SPINS) relax(); else sched_yield();
  } else {
    for (int32_t at = 0; at < pool->group.num_task; ++at)
      if (task(at, &pool->group, data) != 0) pool->failed = 1;
  }
  return pool->failed ? -1 : 0;
}

void close_pool(Pool *pool) {
  __atomic_store_n(&pool->stop, 1, __ATOMIC_RELEASE);
  next_round(pool);
  for (int32_t at = 0; at < pool->started; ++at) pthread_join(pool->workers[at], nullptr);
  free(pool->workers);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
}

int open_pool(Pool *pool, int32_t threads) {
  memset(pool, 0, sizeof *pool);
  pthread_mutex_init(&pool->lock, nullptr);
  pthread_cond_init(&pool->wake, nullptr);
  pool->threads = threads;
  pool->workers = static_cast<pthread_t *>(calloc(static_cast<size_t>(threads), sizeof(pthread_t)));
  if (!pool->workers) return fail("MemoryError", "no memory for the threads");
  for (int32_t index = 1; index < threads; ++index) {
    Seat *seat = static_cast<Seat *>(malloc(sizeof(Seat)));
    if (seat) *seat = Seat{pool, index};
    if (!seat || pthread_create(&pool->workers[pool->started], nullptr, work, seat) != 0) {
      free(seat);
      return fail("RuntimeError", "the system starts no more threads");
    }
    ++pool->started;
  }
  return 0;
}

int32_t usable_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<int32_t>(online) : 1;
}

// ---- workspaces ---------------------------------------------------------------------------------------------------

struct Block {
  Block *next;
  size_t bytes;
};

__thread Block *spare;  // of this thread, freed with it
pthread_key_t spare_key;
pthread_once_t spare_once = PTHREAD_ONCE_INIT;

void drop_spare(void *) {
  while (spare) {
    Block *next = spare->next;
    free(spare);
    spare = next;
  }
}

void make_spare_key() { pthread_key_create(&spare_key, drop_spare); }

void *take(size_t bytes) {
  Block **best = nullptr;
  for (Block **at = &spare; *at; at = &(*at)->next)
    if ((*at)->bytes >= bytes && (!best || (*at)->bytes < (*best)->bytes)) best = at;
  Block *block = nullptr;
  if (best) {
    block = *best;
    *best = block->next;
  } else {
    void *fresh = nullptr;
    if (posix_memalign(&fresh, ALIGNMENT, ALIGNMENT + bytes) != 0) return nullptr;
    block = static_cast<Block *>(fresh);
    block->bytes = bytes;
    pthread_once(&spare_once, make_spare_key);
    pthread_setspecific(spare_key, block);  // any value: it makes the thread call drop_spare at its end
  }
  return reinterpret_cast<char *>(block) + ALIGNMENT;
}

void give_back(void *given) {
  Block *block = reinterpret_cast<Block *>(static_cast<char *>(given) - ALIGNMENT);
  block->next = spare;
  spare = block;
}

}  // namespace

// ---- what kernels call --------------------------------------------------------------------------------------------

extern "C" {

void *TVMBackendAllocWorkspace(int, int, uint64_t bytes, int, int) { return take(static_cast<size_t>(bytes)); }

int TVMBackendFreeWorkspace(int, int, void *block) {
  give_back(block);
  return 0;
}

int TVMBackendParallelLaunch(Task task, void *data, int count) {
  Group alone = {nullptr, 1};
  return current ? launch(current, task, data, count) : task(0, &alone, data);  // a worker has no pool of its own
}

int TVMBackendParallelBarrier(int, Group *group) {
  Pool *pool = static_cast<Pool *>(group->sync_handle);
  int32_t all = group->num_task < pool->threads ? group->num_task : pool->threads;
  int32_t turn = __atomic_load_n(&pool->passed, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&pool->arrived, 1, __ATOMIC_ACQ_REL) == all) {
    __atomic_store_n(&pool->arrived, 0, __ATOMIC_RELAXED);
    __atomic_add_fetch(&pool->passed, 1, __ATOMIC_RELEASE);
  } else {
    while (__atomic_load_n(&pool->passed, __ATOMIC_ACQUIRE) == turn) sched_yield();
  }
  return 0;
}

void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *text) { fail(kind, text); }

void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count) {
  char text[900];
  size_t length = 0;
  for (int32_t at = 0; at < count && length < sizeof text - 1; ++at)
    length += static_cast<size_t>(snprintf(text + length, sizeof text - length, "%s", parts[at] ? parts[at] : ""));
  fail(kind, text);
}

// Kernels reach the first four through these variables.
void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) = TVMBackendAllocWorkspace;
int (*__TVMBackendFreeWorkspace)(int, int, void *) = TVMBackendFreeWorkspace;
int (*__TVMBackendParallelLaunch)(Task, void *, int) = TVMBackendParallelLaunch;
int (*__TVMBackendParallelBarrier)(int, Group *) = TVMBackendParallelBarrier;

// ---- the model ----------------------------------------------------------------------------------------------------

struct loadstone_model {
  Pool pool;
  char *arena;
  DLTensor *tensors;
  Any *arguments;
};

int32_t loadstone_abi(void) { return LOADSTONE_ABI; }
const char *loadstone_name(void) { return plan.name; }
double loadstone_tolerance(void) { return plan.tolerance; }
int32_t loadstone_inputs(void) { return plan.input_count; }
int32_t loadstone_outputs(void) { return plan.output_count; }
const char *loadstone_error(void) { return error_text; }

const loadstone_tensor *loadstone_input(int32_t index) {
  return index >= 0 && index < plan.input_count ? &plan.inputs[index] : nullptr;
}

const loadstone_tensor *loadstone_output(int32_t index) {
  return index >= 0 && index < plan.output_count ? &plan.outputs[index] : nullptr;
}

static void place(loadstone_model *model) {
  for (int32_t at = 0; at < plan.tensor_count; ++at) {
    const loadstone::Tensor &tensor = plan.tensors[at];
    char *base = tensor.in_weights ? reinterpret_cast<char *>(const_cast<unsigned char *>(plan.weights)) : model->arena;
    model->tensors[at] = DLTensor{base + tensor.offset, {1, 0}, tensor.ndim, tensor.dtype, tensor.shape, nullptr, 0};
  }
  for (int32_t at = 0; at < plan.argument_count; ++at) {
    Any &argument = model->arguments[at];
    argument.type_index = 7;  // TVM's kTVMFFIDLTensorPtr
    argument.zero_padding = 0;
    argument.v_int64 = 0;
    argument.v_ptr = &model->tensors[plan.arguments[at]];
  }
}

loadstone_model *loadstone_open(int32_t threads) {
  loadstone_model *model = static_cast<loadstone_model *>(calloc(1, sizeof *model));
  if (!model) return fail("MemoryError", "no memory for the model"), nullptr;
  void *arena = nullptr;
  int short_of = posix_memalign(&arena, ALIGNMENT, static_cast<size_t>(plan.arena_bytes) + ALIGNMENT);
  model->arena = short_of ? nullptr : static_cast<char *>(arena);
  model->tensors = static_cast<DLTensor *>(calloc(static_cast<size_t>(plan.tensor_count) + 1, sizeof(DLTensor)));
  model->arguments = static_cast<Any *>(calloc(static_cast<size_t>(plan.argument_count) + 1, sizeof(Any)));
  int opened = threads < 0 || threads > 1024 ? fail("ValueError", "threads must be 0 to 1024")
                                             : open_pool(&model->pool, threads ? threads : usable_cpus());
  if (opened != 0 || !model->arena || !model->tensors || !model->arguments) {
    if (opened == 0) fail("MemoryError", "no memory for the model's tensors");
    loadstone_close(model);
    return nullptr;
  }
  place(model);
  return model;
}

void loadstone_close(loadstone_model *model) {
  if (!model) return;
  if (model->pool.threads) close_pool(&model->pool);
  free(model->arguments);
  free(model->tensors);
  free(model->arena);
  free(model);
}

int32_t loadstone_run(loadstone_model *model, const void *const *inputs, void *const *outputs) {
  for (int32_t at = 0; at < plan.input_count; ++at)
    memcpy(model->tensors[plan.input_tensors[at]].data, inputs[at], plan.inputs[at].bytes);
  current = &model->pool;
  error_text[0] = 0;
  for (int32_t at = 0; at < plan.step_count; ++at) {
    const loadstone::Step &step = plan.steps[at];
    Any result = {};
    if (step.kernel(nullptr, model->arguments + step.first, step.count, &result) != 0) {
      if (!error_text[0]) fail("RuntimeError", step.name);
      return -1;
    }
  }
  for (int32_t at = 0; at < plan.output_count; ++at)
    memcpy(outputs[at], model->tensors[plan.output_tensors[at]].data, plan.outputs[at].bytes);
  return 0;
}

// ---- the same as one function of a TVM module, for TVM's own runtime and its RPC server ---------------------------

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static loadstone_model *shared;

static void *data_of(const Any *argument) {
  const int32_t OBJECT = 70, HEADER_BYTES = 24;  // kTVMFFITensor, and the object header before its DLTensor
  char *at = static_cast<char *>(argument->v_ptr);
  const DLTensor *tensor = reinterpret_cast<const DLTensor *>(argument->type_index == OBJECT ? at + HEADER_BYTES : at);
  return static_cast<char *>(tensor->data) + tensor->byte_offset;
}

static int32_t raise_in_tvm(void) {
  typedef void (*Raise)(const char *, const char *);
  Raise raise = reinterpret_cast<Raise>(dlsym(RTLD_DEFAULT, "TVMFFIErrorSetRaisedFromCStr"));
  if (raise) raise("RuntimeError", error_text);
  return -1;
}

int32_t __tvm_ffi_main(void *, const Any *args, int32_t count, Any *result) {
  const void *inputs[64];
  void *outputs[64];
  if (count != plan.input_count + plan.output_count || plan.input_count > 64 || plan.output_count > 64)
    return fail("TypeError", "main takes the inputs, then room for the outputs"), raise_in_tvm();
  for (int32_t at = 0; at < plan.input_count; ++at) inputs[at] = data_of(&args[at]);
  for (int32_t at = 0; at < plan.output_count; ++at) outputs[at] = data_of(&args[plan.input_count + at]);
  pthread_mutex_lock(&shared_lock);
  if (!shared) shared = loadstone_open(0);
  int32_t done = shared ? loadstone_run(shared, inputs, outputs) : -1;
  pthread_mutex_unlock(&shared_lock);
  result->type_index = 0;
  return done == 0 ? 0 : raise_in_tvm();
}

}  // extern "C"
