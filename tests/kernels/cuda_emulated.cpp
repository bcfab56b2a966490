// kernels/csrc/cuda.cu itself, with all that is for devices only: each lane of a block is a fiber, which runs until it needs others.
//
// Chance, from a seed, says which warp comes to the next barrier first, and which lane of it to the next primitive: lanes are in step
// only where the source says so. Shared memory is full of garbage when a block begins. The program stops if lanes wait in vain: one
// is at another primitive, or has left, where all 32 are needed, or it is not at the barrier where all others are.
//
// Under the thread sanitizer a fiber is a thread. Barriers order memory as on a device, which shuffles, votes and reductions do not.

#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#else
constexpr unsigned __tsan_switch_to_fiber_no_sync = 1;
inline void* __tsan_get_current_fiber() { return nullptr; }
inline void* __tsan_create_fiber(unsigned) { return nullptr; }
inline void __tsan_switch_to_fiber(void*, unsigned) {}
inline void __tsan_acquire(void*) {}
inline void __tsan_release(void*) {}
inline void AnnotateIgnoreReadsBegin(const char*, int) {}
inline void AnnotateIgnoreReadsEnd(const char*, int) {}
inline void AnnotateIgnoreWritesBegin(const char*, int) {}
inline void AnnotateIgnoreWritesEnd(const char*, int) {}
#endif

extern "C" char __start_shared_memory[] __attribute__((visibility("hidden")));
extern "C" char __stop_shared_memory[] __attribute__((visibility("hidden")));

namespace emulated {

using Word = unsigned long long;

constexpr unsigned WARP = 32, ALL = 0xFFFFFFFFu;

enum class At { WORK, END, BARRIER, SYNC, SHUFFLE, SHUFFLE_UP, SHUFFLE_XOR, BALLOT, ADD, LEAST, LARGEST };

// What happened before a lane came here has happened for all who go on from here. By turns: the first to go on may come to the next
// such place before the last has gone on from this one.
class Meeting {
  public:
    void come(unsigned turn) { __tsan_release(&places_[turn & 1]); }
    void go_on(unsigned turn) { __tsan_acquire(&places_[turn & 1]); }

  private:
    char places_[2] = {};
};

struct Lane {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(1 << 16);
    void* fiber = __tsan_create_fiber(0);
    At at = At::END;
    unsigned turn = 0, barriers = 0;
};

// What a warp's lanes show each other, by turns as well.
struct Shown {
    Word of[WARP];
};
struct Warp {
    Shown shown[2];
    Meeting meeting;
};

// The emulation's own memory is none of the sanitizer's business.
struct Unseen {
    Unseen() { AnnotateIgnoreReadsBegin("", 0), AnnotateIgnoreWritesBegin("", 0); }
    ~Unseen() { AnnotateIgnoreWritesEnd("", 0), AnnotateIgnoreReadsEnd("", 0); }
};

std::mt19937 chance;
std::vector<std::unique_ptr<Lane>> lanes;
std::vector<Warp> warps;
Meeting everybody, grid;
ucontext_t scheduler;
void* const scheduler_fiber = __tsan_get_current_fiber();
std::function<void()> kernel;

struct Index {
    unsigned x;
} thread, block;

[[noreturn]] void stop(const char* why) {
    std::fprintf(stderr, "cuda_emulated: %s\n", why);
    std::abort();
}

void switch_from(ucontext_t& here, ucontext_t& there, void* fiber) {
    __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync);
    swapcontext(&here, &there);
}

void wait_at(At what) {
    Lane& lane = *lanes[thread.x];
    lane.at = what;
    switch_from(lane.context, scheduler, scheduler_fiber);
}

// What each lane of the warp shows, once all of them have come to the same primitive.
Shown exchange(At what, unsigned mask, Word own) {
    const Unseen unseen;
    if (mask != ALL) stop("a mask that is not of all lanes");
    const unsigned number = thread.x, turn = lanes[number]->turn++;
    Warp& warp = warps[number / WARP];
    warp.shown[turn & 1].of[number % WARP] = own;
    if (what == At::SYNC) warp.meeting.come(turn);
    wait_at(what);
    if (what == At::SYNC) warp.meeting.go_on(turn);
    return warp.shown[turn & 1];
}

void barrier() {
    const Unseen unseen;
    const unsigned turn = lanes[thread.x]->barriers++;
    everybody.come(turn);
    wait_at(At::BARRIER);
    everybody.go_on(turn);
}

template <class T>
Word word_of(T value) {
    Word word = 0;
    std::memcpy(&word, &value, sizeof value);
    return word;
}

template <class T>
T from(Word word) {
    T value;
    std::memcpy(&value, &word, sizeof value);
    return value;
}

template <class Join>
unsigned reduce(At what, unsigned mask, unsigned own, Join join) {
    const Shown shown = exchange(what, mask, own);
    unsigned all = static_cast<unsigned>(shown.of[0]);
    for (unsigned lane = 1; lane < WARP; ++lane) all = join(all, static_cast<unsigned>(shown.of[lane]));
    return all;
}

unsigned own_lane() { return thread.x % WARP; }

// ---- blocks

void live() {
    for (;;) {
        grid.go_on(0);
        kernel();
        grid.come(1);
        const Unseen unseen;
        wait_at(At::END);
    }
}

void make_lanes(unsigned count) {
    while (lanes.size() < count) {
        lanes.push_back(std::make_unique<Lane>());
        Lane& lane = *lanes.back();
        getcontext(&lane.context);
        lane.context.uc_stack.ss_sp = lane.stack.data();
        lane.context.uc_stack.ss_size = lane.stack.size();
        makecontext(&lane.context, live, 0);
    }
}

bool all_at(unsigned first, unsigned count, At what) {
    return std::all_of(&lanes[first], &lanes[first] + count, [&](const auto& lane) { return lane->at == what; });
}

void go_on(unsigned first, unsigned count) {
    for (unsigned number = first; number < first + count; ++number) lanes[number]->at = At::WORK;
}

// Until its lanes can do nothing without other warps.
void run_warp(unsigned first) {
    std::vector<unsigned> order(WARP);
    std::iota(order.begin(), order.end(), first);
    for (;;) {
        std::shuffle(order.begin(), order.end(), chance);
        for (const unsigned number : order) {
            if (lanes[number]->at != At::WORK) continue;
            thread.x = number;
            switch_from(scheduler, lanes[number]->context, lanes[number]->fiber);
        }
        const At what = lanes[first]->at;
        if (what == At::END || what == At::BARRIER || !all_at(first, WARP, what)) return;
        go_on(first, WARP);
    }
}

void run_block(unsigned count) {
    const Unseen unseen;
    make_lanes(count);
    warps.assign(count / WARP, Warp{});
    std::memset(__start_shared_memory, 0xA5, static_cast<std::size_t>(__stop_shared_memory - __start_shared_memory));
    for (unsigned number = 0; number < count; ++number) lanes[number]->turn = lanes[number]->barriers = 0;
    std::vector<unsigned> order(count / WARP);
    std::iota(order.begin(), order.end(), 0u);
    do {
        go_on(0, count);
        std::shuffle(order.begin(), order.end(), chance);
        for (const unsigned warp : order) run_warp(WARP * warp);
    } while (all_at(0, count, At::BARRIER));
    if (!all_at(0, count, At::END)) stop("lanes wait for others that do not come");
}

template <class Arguments>
void run_grid(void (*function)(const Arguments), Word blocks, unsigned count, const Arguments& arguments) {
    kernel = [&] { function(arguments); };
    std::vector<unsigned> order(blocks);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), chance);
    for (const unsigned number : order) {
        block.x = number;
        grid.come(0);
        run_block(count);
        grid.go_on(1);
    }
}

}  // namespace emulated

// ---- what the device's compiler knows

#define __CUDACC__
#define __CUDA_ARCH__ 900
#define __host__
#define __device__
#define __global__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("shared_memory")))
#define __builtin_assume(truth) static_cast<void>(truth)
#define threadIdx emulated::thread
#define blockIdx emulated::block

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) ushort4 {
    unsigned short x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline unsigned __float_as_uint(float value) { return static_cast<unsigned>(emulated::word_of(value)); }
inline float __uint_as_float(unsigned bits) {
    return emulated::from<float>(bits);
}
inline double __longlong_as_double(long long bits) {
    return emulated::from<double>(static_cast<emulated::Word>(bits));
}
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline int __popc(unsigned word) { return __builtin_popcount(word); }
inline int __ffs(int word) { return __builtin_ffs(word); }
inline int __clz(int word) { return word == 0 ? 32 : __builtin_clz(static_cast<unsigned>(word)); }
inline bool __isGlobal(const void*) { return true; }

inline void __syncthreads() { emulated::barrier(); }
inline void __syncwarp() { emulated::exchange(emulated::At::SYNC, emulated::ALL, 0); }

template <class T>
T __shfl_sync(unsigned mask, T own, unsigned lane) {
    return emulated::from<T>(emulated::exchange(emulated::At::SHUFFLE, mask, emulated::word_of(own)).of[lane]);
}
template <class T>
T __shfl_up_sync(unsigned mask, T own, unsigned step) {
    const auto shown = emulated::exchange(emulated::At::SHUFFLE_UP, mask, emulated::word_of(own));
    const unsigned lane = emulated::own_lane();
    return emulated::from<T>(shown.of[lane < step ? lane : lane - step]);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T own, int bits) {
    const auto shown = emulated::exchange(emulated::At::SHUFFLE_XOR, mask, emulated::word_of(own));
    return emulated::from<T>(shown.of[emulated::own_lane() ^ static_cast<unsigned>(bits)]);
}
inline unsigned __ballot_sync(unsigned mask, bool own) {
    const auto shown = emulated::exchange(emulated::At::BALLOT, mask, own);
    unsigned word = 0;
    for (unsigned lane = 0; lane < emulated::WARP; ++lane) word |= static_cast<unsigned>(shown.of[lane]) << lane;
    return word;
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned own) {
    return emulated::reduce(emulated::At::ADD, mask, own, [](unsigned a, unsigned b) { return a + b; });
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned own) {
    return emulated::reduce(emulated::At::LEAST, mask, own, [](unsigned a, unsigned b) { return a < b ? a : b; });
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned own) {
    return emulated::reduce(emulated::At::LARGEST, mask, own, [](unsigned a, unsigned b) { return a > b ? a : b; });
}

#include "cuda.cu"

// ---- for whoever loads this: every kernel NAME is launch_NAME(blocks, threads a block, its arguments), beside size_of_NAME()

#define LAUNCH(NAME, ARGUMENTS)                                                                \
    extern "C" u64 size_of_##NAME() { return sizeof(ARGUMENTS); }                              \
    extern "C" void launch_##NAME(u64 blocks, u32 threads, const ARGUMENTS* arguments) {       \
        emulated::run_grid<ARGUMENTS>(NAME, blocks, threads, *arguments);                      \
    }

LAUNCH(compress_chunks, CompressArguments)
LAUNCH(pack_bitmaps, PackArguments)
LAUNCH(read_lengths, LengthArguments)
LAUNCH(check_chunks, CheckArguments)
LAUNCH(accumulate_chunks, AccumulateArguments)
LAUNCH(list_chunks, EntriesArguments)
LAUNCH(square_chunks, SquareArguments)
LAUNCH(merge_chunks, MergeArguments)

extern "C" void seed_chance(u32 seed) { emulated::chance.seed(seed); }
