// A range of chunks shared among threads.

#pragma once

#include <cfenv>
#include <exception>
#include <thread>
#include <vector>

#include "format.h"

namespace collab {

// The default floating-point environment (to nearest, denormals as they are) for a while: a host program may have set another.
class DefaultFloats {
  public:
    DefaultFloats() {
        std::fegetenv(&before_);
        std::fesetenv(FE_DFL_ENV);
    }
    ~DefaultFloats() { std::fesetenv(&before_); }
    DefaultFloats(const DefaultFloats&) = delete;
    DefaultFloats& operator=(const DefaultFloats&) = delete;

  private:
    std::fenv_t before_;
};

// Contiguous parts of [0, size), one a thread, none much smaller than `least`.
class Ranges {
  public:
    Ranges(u64 size, u64 threads, u64 least) : size_(size), count_(size / least < threads ? size / least : threads) {
        if (count_ == 0) count_ = 1;
    }

    u64 count() const { return count_; }
    u64 begin(u64 part) const { return size_ / count_ * part + (part < size_ % count_ ? part : size_ % count_); }

    // work(part, begin, end) for each part, one of them on the caller's thread.
    template <class Work>
    void run(const Work& work) const {
        const auto one = [&](u64 part) {
            const DefaultFloats guard;
            work(part, begin(part), begin(part + 1));
        };
        std::vector<std::thread> threads;
        threads.reserve(count_ - 1);
        u64 part = 1;
        try {
            for (; part < count_; ++part) threads.emplace_back(one, part);
        } catch (const std::exception&) {  // no more threads to be had
        }
        one(0);
        for (; part < count_; ++part) one(part);
        for (std::thread& thread : threads) thread.join();
    }

  private:
    u64 size_;
    u64 count_;
};

}  // namespace collab
