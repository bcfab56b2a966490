// The codec without instructions by name: for every processor.

#include "cpu_operations.h"

#define COLLAB_SET portable
#include "cpu_set.h"

namespace collab {
const Operations PORTABLE = portable::OPERATIONS;
}
