// The emulated kernels on single chunks, for the thread sanitizer: it sees a barrier that is missing. Results may not hang on the order.

#include "cuda_emulated.cpp"

namespace {

// One tensor of one chunk, and what becomes of it.
struct Trial {
    std::vector<float> delta, residual, out, into, weights, fishers, tempers, merged;
    std::vector<u8> record = std::vector<u8>(8192), slot = std::vector<u8>(256), bitmap = std::vector<u8>(256);
    std::vector<i64> index = std::vector<i64>(CHUNK);
    std::vector<float> values = std::vector<float>(CHUNK);
    i64 length = -1;
    u64 nonfinite = 0, fault = 0;
    Form form;
    Tensor tensor;
    u32 owner = 0;

    Trial(u32 size, u32 density, u32 bits, u32 different) : form(form_of(size, density, bits)) {
        std::mt19937 random(size + density);
        std::student_t_distribution<float> heavy(2);
        for (u32 i = 0; i < size; ++i) delta.push_back(different == 0 ? heavy(random) : static_cast<float>(random() % different));
        residual.assign(size, 0.25f);
        into = out = delta;
        weights = fishers = merged = std::vector<float>(size, 0.0f);
        tempers.assign(size, 1.0f);
        tensor = {size, 0, density, 0, form.record_bytes(), 0};
    }

    void run(u32 seed) {
        seed_chance(seed);
        const Table table{&tensor, &owner, 1, form.bits};
        const Source source{delta.data(), residual.data(), out.data(), 0};
        const CompressArguments compressing{table, &source, record.data(), slot.data(), slot.size(), &length, &nonfinite, 0.5f};
        launch_compress_chunks(1, 256, &compressing);
        const PackArguments packing{slot.data(), slot.size(), &length, bitmap.data()};
        launch_pack_bitmaps(1, 32, &packing);
        const u64 bytes = static_cast<u64>(length);
        const Part part{table, record.data(), bitmap.data(), &length, bytes, bits_of(0.5f), bits_of(0.9f), nullptr, 0};
        const CheckArguments checking{part, &fault};
        launch_check_chunks(1, 32, &checking);
        const EntriesArguments listing{part, index.data(), values.data()};
        launch_list_chunks(1, 32, &listing);
        const Part parts[] = {part, part};
        float* const target = into.data();
        const AccumulateArguments adding{parts, 2, &target};
        launch_accumulate_chunks(1, 32, &adding);
        float* const all[] = {weights.data(), fishers.data(), tempers.data(), merged.data()};
        const MergeArguments merging{parts, 2, all, all + 1, all + 2, all + 3, 0.1f, 0.6f};
        launch_merge_chunks(1, 32, &merging);
        const Square square{residual.data(), delta.data(), 0};
        const SquareArguments squaring{table, &square};
        launch_square_chunks(1, 256, &squaring);
    }

    bool operator==(const Trial& other) const {
        return record == other.record && bitmap == other.bitmap && length == other.length && out == other.out && into == other.into &&
               index == other.index && values == other.values && merged == other.merged && residual == other.residual &&
               fault == 0 && other.fault == 0;
    }
};

}  // namespace

int main() {
    const u32 trials[][4] = {{4096, 8, 2, 0}, {4096, 16, 3, 0}, {4096, 32, 8, 0}, {4096, 8, 1, 3},
                             {4096, 8, 2, 1}, {1000, 4, 2, 0},  {1500, 0, 2, 0},  {1, 1, 2, 0}};
    for (const auto& [size, density, bits, different] : trials) {
        Trial first(size, density, bits, different), second(size, density, bits, different);
        first.run(1);
        second.run(2);
        if (!(first == second)) {
            std::printf("size %u, density %u, %u bits: differs\n", size, density, bits);
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}
