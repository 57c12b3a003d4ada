// Launches of the compiled products.
#pragma once

#include <cuda_runtime_api.h>

#include "product_steps.h"

namespace equinet {

// Threads of a block that does without shared memory.
constexpr int BLOCK_THREADS = 128;

// The job of a step for T = float (all types of elements but float64) and double. Its operands
// bring their degrees with them.
template <class T>
void launch_product(const ProductStep& step, const ProductJob& job, int lmax_out,
                    cudaStream_t stream);

}  // namespace equinet
