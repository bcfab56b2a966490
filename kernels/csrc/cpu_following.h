// The chunk that follows in memory, asked for in small portions while this one is worked on in the cache.
//
// All at once would make the processor wait, and so would asking while it reads: then what it reads has to queue behind.

#pragma once

#include "format.h"

namespace collab::COLLAB_SET {

class Following {
  public:
    // Of `elements` that end at these addresses. What lies beyond need not exist.
    Following(const void* delta, u32 delta_bytes, const float* residual, u32 elements)
        : delta_(reinterpret_cast<u64>(delta)), residual_(reinterpret_cast<u64>(residual)), delta_bytes_(delta_bytes),
          portions_(elements / PORTION) {}

    void ask(u32 portions) {
        if (portions_ < portions) return;
        portions_ -= portions;
        for (u32 i = 0; i < portions; ++i) {
            delta_ = ask_from(delta_, delta_bytes_);
            residual_ = ask_from(residual_, sizeof(float));
        }
    }

  private:
    static constexpr u32 LINE = 16, PORTION = 2 * LINE;  // elements: a cache line of floats, and a pair of them

    static u64 ask_from(u64 address, u32 bytes) {
        for (u32 i = 0; i < PORTION; i += LINE) __builtin_prefetch(reinterpret_cast<const void*>(address + i * bytes));
        return address + PORTION * bytes;
    }

    u64 delta_, residual_;
    u32 delta_bytes_, portions_;
};

}  // namespace collab::COLLAB_SET
