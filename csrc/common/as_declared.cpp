// Inputs of compiled programs, whose code takes type, strides and shape of the example for granted.
#include "new_tensor.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <stdexcept>
#include <string>

namespace equinet {
namespace {

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

// A contiguous copy of an input of the type and shape declared for it; others are refused.
torch::stable::Tensor as_declared(const torch::stable::Tensor& input, std::string name,
                                  bool is_integer, std::vector<int64_t> shape) {
  int32_t dtype = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(input.get(), &dtype));
  if (dtype != (is_integer ? aoti_torch_dtype_int64() : aoti_torch_dtype_float64())) {
    throw std::runtime_error(name + " must be of type " + (is_integer ? "int64" : "float64") +
                             "; convert it before the call");
  }
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < input.dim(); i++) sizes.push_back(input.size(i));
  if (sizes != shape) {
    throw std::runtime_error(name + " must have shape " + text_of(shape) + ", found " +
                             text_of(sizes) + "; atoms, structures and edges must agree with the "
                             "other inputs");
  }
  torch::stable::Tensor result = new_tensor(input, sizes);
  torch::stable::copy_(result, input);
  return result;
}

}  // namespace
}  // namespace equinet

STABLE_TORCH_LIBRARY_IMPL(equinet, CompositeExplicitAutograd, m) {
  m.impl("as_declared", TORCH_BOX(&equinet::as_declared));
}
