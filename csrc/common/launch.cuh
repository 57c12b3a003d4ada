// What all launches of CUDA kernels need: the stream, the number of blocks, and errors.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/tensor.h>

#include <stdexcept>
#include <string>

namespace equinet {

inline void check_cuda(cudaError_t code) {
  if (code != cudaSuccess) {
    throw std::runtime_error(std::string("equinet on CUDA: ") + cudaGetErrorString(code));
  }
}

// torch's current stream of a device.
inline cudaStream_t current_stream(int device) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  return static_cast<cudaStream_t>(stream);
}

// Blocks with a thread for each of `count` pieces of work.
inline unsigned blocks_for(int64_t count, int threads) {
  return static_cast<unsigned>((count + threads - 1) / threads);
}

}  // namespace equinet
