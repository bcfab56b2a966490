// A block of lanes: its threads.
//
// A kernel's body is straight code that all lanes run alike; what they do differently are lambdas handed to their block: phases.
// A lane's state lies in registers, and a barrier ends a phase. So within a phase no lane may read what another writes. Tests run
// all this on a host, lanes in an order of chance, and under a sanitizer that notices if one does (tests/kernels/cuda_emulated.cpp).
//
//     each(f)           f(lane, state) for each lane, then a barrier
//     own(f)            the same without the barrier: f touches nothing that another lane touches before the next one
//     scan(number)      replaces number(state), a u32& or u64&, by the sum over earlier lanes; returns that over all; a barrier
//     one_warp(f)       f(warp) by one warp while the others wait, then a barrier; results go through shared memory
//     write(out, n, f)  the bits f(0) to f(n - 1) as bytes, the last filled up with zeros; a barrier
//     once(f)           f() by one lane, then a barrier
//
// A warp has sum (of u32, Halves or Tally), least and largest of number(lane) over its 32 lanes, each known to all of them, and
// both(f): f(0) and f(1), which cost as much as one.

#pragma once

#include "format.h"

#define COLLAB_BODY __device__ __forceinline__

namespace collab {

COLLAB_BODY u32 ones(u32 word) { return static_cast<u32>(__popc(word)); }

// The position of the lowest set bit.
COLLAB_BODY u32 lowest(u32 word) { return static_cast<u32>(__ffs(static_cast<int>(word))) - 1; }

// A sum of numbers below 2^24, at most 512 of them and each at most 127 times, by lower and upper halves: warps add 32 bits at once.
struct Halves {
    u32 low, high;

    COLLAB_HD void add(u32 number, u32 times) {
        low += times * (number & 0xFFFu);
        high += times * (number >> 12);
    }
    COLLAB_HD u64 whole() const { return low + (static_cast<u64>(high) << 12); }
};

// What a line is fitted to: Σc, Σc², Σcm.
struct Tally {
    u32 codes, squares;
    Halves products;
};

struct Both {
    i64 first, second;
};

constexpr u32 ALL = 0xFFFFFFFFu;

class DeviceWarp {
  public:
    __device__ u32 lane() const { return threadIdx.x & 31; }
    __device__ bool leads() const { return lane() == 0; }

    template <class Number>
    __device__ __forceinline__ auto sum(Number number) const {
        return sum_of(number(lane()));
    }
    template <class Number>
    __device__ __forceinline__ u32 least(Number number) const {
        return __reduce_min_sync(ALL, number(lane()));
    }
    template <class Number>
    __device__ __forceinline__ u32 largest(Number number) const {
        return __reduce_max_sync(ALL, number(lane()));
    }
    template <class Number>
    __device__ __forceinline__ Both both(Number number) const {
        const i64 own = number(lane() & 1);
        return {__shfl_sync(ALL, own, 0), __shfl_sync(ALL, own, 1)};
    }

  private:
    __device__ __forceinline__ u32 sum_of(u32 number) const { return __reduce_add_sync(ALL, number); }
    __device__ __forceinline__ Halves sum_of(const Halves& halves) const { return {sum_of(halves.low), sum_of(halves.high)}; }
    __device__ __forceinline__ Tally sum_of(const Tally& tally) const {
        return {sum_of(tally.codes), sum_of(tally.squares), sum_of(tally.products)};
    }
};

template <u32 COUNT, class Lane>
class DeviceBlock {
    static constexpr u32 WARPS = COUNT / 32;

  public:
    static constexpr u32 LANES = COUNT;
    struct Scratch {
        u64 totals[2][WARPS];  // by turns, so that a scan needs one barrier
    };

    __device__ __forceinline__ explicit DeviceBlock(Scratch& scratch) : scratch_(scratch) {}

    template <class Phase>
    __device__ __forceinline__ void own(Phase phase) {
        phase(threadIdx.x, lane_);
    }

    template <class Phase>
    __device__ __forceinline__ void each(Phase phase) {
        phase(threadIdx.x, lane_);
        barrier();
    }

    template <class Phase>
    __device__ __forceinline__ void once(Phase phase) {
        if (threadIdx.x == 0) phase();
        barrier();
    }

    template <class Number>
    __device__ __forceinline__ auto scan(Number number) {
        return scan_of(number(lane_));
    }

    template <class Section>
    __device__ __forceinline__ void one_warp(Section section) {
        if (threadIdx.x / 32 == chosen_warp()) section(DeviceWarp());
        barrier();
    }

    template <class Bit>
    __device__ __forceinline__ void write(u8* out, u32 bits, Bit bit) {
        const u32 lane = threadIdx.x & 31;
        for (u32 at = threadIdx.x & ~31u; at < bits; at += LANES) {
            const u32 word = __ballot_sync(ALL, at + lane < bits && bit(at + lane));
            const u32 byte = at / 8 + lane;
            if (lane < 4 && 8 * byte < bits) out[byte] = static_cast<u8>(word >> (8 * lane));
        }
        barrier();
    }

  private:
    // Another one in each block: the first warps of all blocks that are on a processor share one of its four schedulers.
    static __device__ __forceinline__ u32 chosen_warp() { return (blockIdx.x * 0x9E3779B1u >> 16) % WARPS; }

    template <class T>
    __device__ __forceinline__ T scan_of(T& own) {
        T inclusive = own;
        for (u32 step = 1; step < 32; step *= 2) {
            const T other = __shfl_up_sync(ALL, inclusive, step);
            if ((threadIdx.x & 31) >= step) inclusive += other;
        }
        own = inclusive - own;
        if (WARPS == 1) {
            barrier();
            return __shfl_sync(ALL, inclusive, 31);
        }
        T* totals = reinterpret_cast<T*>(scratch_.totals[turn_]);
        turn_ ^= 1;
        const u32 warp = threadIdx.x / 32;
        if ((threadIdx.x & 31) == 31) totals[warp] = inclusive;
        barrier();
        T all = 0;
        for (u32 other = 0; other < WARPS; ++other) {
            if (other == warp) own += all;
            all += totals[other];
        }
        return all;
    }

    __device__ __forceinline__ void barrier() {
        if (WARPS == 1) {
            __syncwarp();
        } else {
            __syncthreads();
        }
    }

    Scratch& scratch_;
    Lane lane_;
    u32 turn_ = 0;
};

}  // namespace collab
