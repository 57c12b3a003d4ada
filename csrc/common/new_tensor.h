// Makes new tensors. torch::stable::new_empty would take a microsecond for its boxed call.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

namespace equinet {

// Returns a contiguous, uninitialized tensor of the dtype and on the device of another tensor.
inline torch::stable::Tensor new_tensor(const torch::stable::Tensor& like,
                                        const std::vector<int64_t>& sizes) {
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t i = sizes.size(); i-- > 1;) strides[i - 1] = strides[i] * sizes[i];
  int32_t dtype = 0, device_type = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  AtenTensorHandle result = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(int64_t(sizes.size()), sizes.data(),
                                                  strides.data(), dtype, device_type,
                                                  like.get_device_index(), &result));
  return torch::stable::Tensor(result);
}

}  // namespace equinet
