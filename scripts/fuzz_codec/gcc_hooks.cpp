// What gcc calls at every block and libFuzzer does not know: counters, as clang would have put them into the code.

namespace {
unsigned char counters[1 << 16];
}

extern "C" {

void __sanitizer_cov_8bit_counters_init(unsigned char* begin, unsigned char* end);

__attribute__((constructor)) static void register_counters() { __sanitizer_cov_8bit_counters_init(counters, counters + sizeof counters); }

void __sanitizer_cov_trace_pc() {
    const auto place = reinterpret_cast<unsigned long>(__builtin_return_address(0));
    ++counters[place % sizeof counters];
}

void __sanitizer_cov_trace_cmpf(float, float) {}
void __sanitizer_cov_trace_cmpd(double, double) {}
}
