// The CUDA kernels' bodies with a thread for each lane, so that a thread sanitizer sees a barrier that is missing.
//
// Each result is compared with that of the emulation, whose lanes run one after the other.

#include <pthread.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "compress.h"
#include "decode.h"
#include "fisher.h"

namespace collab {

class Barrier {
  public:
    explicit Barrier(u32 count) { pthread_barrier_init(&barrier_, nullptr, count); }
    ~Barrier() { pthread_barrier_destroy(&barrier_); }
    void wait() { pthread_barrier_wait(&barrier_); }

  private:
    pthread_barrier_t barrier_;
};

// What the threads of a block have in common.
struct Team {
    explicit Team(u32 count) : all(count), numbers{std::vector<u64>(count), std::vector<u64>(count)} {}

    Barrier all;
    Barrier first_warp{32};
    std::vector<u64> numbers[2];
    Pair pairs[32];
};

class ThreadWarp {
  public:
    ThreadWarp(Team& team, u32 lane) : team_(team), lane_(lane) {}

    bool leads() const { return lane_ == 0; }

    template <class Number>
    auto sum(Number number) const {
        return fold(number(lane_), [](auto& all, const auto& other) { all += other; });
    }
    template <class Number>
    u32 least(Number number) const {
        return fold(number(lane_), [](u32& all, u32 other) { all = smaller(all, other); });
    }
    template <class Number>
    u32 largest(Number number) const {
        return fold(number(lane_), [](u32& all, u32 other) { all = larger(all, other); });
    }

  private:
    template <class T, class Join>
    T fold(const T& own, Join join) const {
        std::memcpy(&team_.pairs[lane_], &own, sizeof own);
        team_.first_warp.wait();
        T all = own;
        for (u32 other = 0; other < 32; ++other) {
            T value;
            std::memcpy(&value, &team_.pairs[other], sizeof value);
            if (other != lane_) join(all, value);
        }
        team_.first_warp.wait();
        return all;
    }

    Team& team_;
    u32 lane_;
};

template <u32 COUNT, class Lane>
class ThreadBlock {
  public:
    static constexpr u32 LANES = COUNT;

    ThreadBlock(Team& team, u32 lane) : team_(team), lane_(lane) {}

    template <class Phase>
    void own(Phase phase) {
        phase(lane_, state_);
    }
    template <class Phase>
    void each(Phase phase) {
        phase(lane_, state_);
        team_.all.wait();
    }
    template <class Phase>
    void once(Phase phase) {
        if (lane_ == 0) phase();
        team_.all.wait();
    }
    template <class Section>
    void one_warp(Section section) {
        if (lane_ < 32) section(ThreadWarp(team_, lane_));
        team_.all.wait();
    }
    template <class Number>
    auto scan(Number number) {
        auto& own = number(state_);
        std::vector<u64>& numbers = team_.numbers[turn_];
        turn_ ^= 1;
        numbers[lane_] = own;
        team_.all.wait();
        auto all = own;
        all = 0;
        for (u32 lane = 0; lane < COUNT; ++lane) {
            if (lane == lane_) own = all;
            all += static_cast<decltype(all)>(numbers[lane]);
        }
        return all;
    }
    template <class Bit>
    void write(u8* out, u32 bits, Bit bit) {
        for (u32 byte = lane_; 8 * byte < bits; byte += COUNT) {
            u32 value = 0;
            for (u32 at = 8 * byte; at < bits && at < 8 * byte + 8; ++at) value |= (bit(at) ? 1u : 0u) << (at & 7);
            out[byte] = static_cast<u8>(value);
        }
        team_.all.wait();
    }

  private:
    Team& team_;
    u32 lane_;
    Lane state_;
    u32 turn_ = 0;
};

template <u32 COUNT, class Lane, class Shared, class Body>
void by_threads(Body body) {
    Team team(COUNT);
    auto shared = std::make_unique<Shared>();
    std::vector<std::thread> threads;
    for (u32 lane = 0; lane < COUNT; ++lane) {
        threads.emplace_back([&, lane] {
            ThreadBlock<COUNT, Lane> block(team, lane);
            body(block, *shared);
        });
    }
    for (auto& thread : threads) thread.join();
}

template <u32 COUNT, class Lane, class Shared, class Body>
void one_after_the_other(Body body) {
    auto shared = std::make_unique<Shared>();
    auto block = std::make_unique<HostBlock<COUNT, Lane>>(false);
    body(*block, *shared);
}

// One tensor of one chunk, and what becomes of it.
struct Trial {
    std::vector<float> delta, residual, out, into, weights, fishers, tempers, merged;
    std::vector<u8> record = std::vector<u8>(8192), slot = std::vector<u8>(256);
    i64 length = -1;
    u64 nonfinite = 0, fault = 0;
    Form form;
    Tensor tensor;
    u32 owner = 0;

    Trial(u32 size, u32 density, u32 bits, u32 values) : form(form_of(size, density, bits)) {
        std::mt19937 random(size + density);
        std::student_t_distribution<float> heavy(2);
        for (u32 i = 0; i < size; ++i) delta.push_back(values == 0 ? heavy(random) : static_cast<float>(random() % values));
        residual.assign(size, 0.25f);
        into = out = delta;
        weights = fishers = merged = std::vector<float>(size, 0.0f);
        tempers.assign(size, 1.0f);
        tensor = {size, 0, density, 0, form.record_bytes(), 0};
    }

    Table table() { return {&tensor, &owner, 1, form.bits}; }

    template <class Run>
    void run(Run run) {
        const Source source{delta.data(), residual.data(), out.data(), 0};
        const CompressArguments compressing{table(), &source, record.data(), slot.data(), slot.size(), &length, &nonfinite, 0.5f};
        run.wide([&](auto& block, auto& shared) { compress_chunk(block, shared, compressing, 0); });
        const u64 bytes = static_cast<u64>(length);
        const Part part{table(), record.data(), slot.data(), &length, bytes, bits_of(0.5f), bits_of(0.9f), nullptr, 0};
        const CheckArguments checking{part, &fault};
        run.narrow([&](auto& block, auto& shared) { check_chunk(block, shared, checking, 0); });
        const Part parts[] = {part, part};
        float* const target = into.data();
        const AccumulateArguments adding{parts, 2, &target};
        run.narrow([&](auto& block, auto& shared) { accumulate_chunk(block, shared, adding, 0); });
        float* const all[] = {weights.data(), fishers.data(), tempers.data(), merged.data()};
        const MergeArguments merging{parts, 2, all, all + 1, all + 2, all + 3, 0.1f, 0.6f};
        run.narrow([&](auto& block, auto& shared) { merge_chunk(block, shared, merging, 0); });
    }

    bool operator==(const Trial& other) const {
        return record == other.record && slot == other.slot && length == other.length && out == other.out && into == other.into &&
               merged == other.merged && fault == 0 && other.fault == 0;
    }
};

struct Threads {
    template <class Body>
    void wide(Body body) {
        by_threads<LANES, Marks, CompressShared>(body);
    }
    template <class Body>
    void narrow(Body body) {
        by_threads<32, Number, DecodeShared>(body);
    }
};

struct Loops {
    template <class Body>
    void wide(Body body) {
        one_after_the_other<LANES, Marks, CompressShared>(body);
    }
    template <class Body>
    void narrow(Body body) {
        one_after_the_other<32, Number, DecodeShared>(body);
    }
};

}  // namespace collab

int main() {
    using collab::Trial;
    const unsigned trials[][4] = {{4096, 8, 2, 0}, {4096, 16, 3, 0}, {4096, 32, 8, 0}, {4096, 8, 1, 3},
                                  {4096, 8, 2, 1}, {1000, 4, 2, 0},  {1500, 0, 2, 0},  {1, 1, 2, 0}};
    for (const auto& [size, density, bits, values] : trials) {
        Trial threads(size, density, bits, values), loops(size, density, bits, values);
        threads.run(collab::Threads());
        loops.run(collab::Loops());
        if (!(threads == loops)) {
            std::printf("size %u, density %u, %u bits: differs\n", size, density, bits);
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}
