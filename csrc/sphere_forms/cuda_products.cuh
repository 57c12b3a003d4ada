// Launches of the compiled products.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "product_steps.h"

namespace equinet {

// Threads of a block that does without shared memory.
constexpr int BLOCK_THREADS = 128;

inline void check_cuda(cudaError_t code) {
  if (code != cudaSuccess) {
    throw std::runtime_error(std::string("sphere_forms on CUDA: ") + cudaGetErrorString(code));
  }
}

inline unsigned blocks_for(int64_t lanes, int threads) {
  return static_cast<unsigned>((lanes + threads - 1) / threads);
}

// The job of a step for T = float (all types of elements but float64) and double. Its operands
// bring their degrees with them.
template <class T>
void launch_product(const ProductStep& step, const ProductJob& job, int lmax_out,
                    cudaStream_t stream);

}  // namespace equinet
