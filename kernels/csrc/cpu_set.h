// All that is compiled for one instruction set, as operations of the namespace COLLAB_SET. Included by cpu_<set>.cpp alone.

#include "cpu_check.h"
#include "cpu_compress.h"
#include "cpu_decode.h"

namespace collab::COLLAB_SET {

constexpr Operations OPERATIONS{compress, compress_halves, check, halves_finite, accumulate, entries, floats_of_halves};

}  // namespace collab::COLLAB_SET
