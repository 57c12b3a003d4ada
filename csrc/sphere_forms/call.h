// Checks, sizes and results of calls of equinet::sphere_forms, the same on every device.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../common/new_tensor.h"

namespace equinet {

inline int degree_of(const torch::stable::Tensor& x) {
  const int degree = int(std::lround(std::sqrt(double(x.size(1))))) - 1;
  if (x.dim() != 3 || degree < 0 || int64_t{degree + 1} * (degree + 1) != x.size(1)) {
    throw std::invalid_argument("functions must have shape [batch, (lmax + 1)^2, channels]");
  }
  return degree;
}

// Checks that functions fit together, and returns their degrees.
inline std::vector<int> degrees_of(const std::vector<torch::stable::Tensor>& functions) {
  if (functions.empty()) throw std::invalid_argument("functions must not be empty");
  std::vector<int> lmax;
  for (const torch::stable::Tensor& x : functions) {
    lmax.push_back(degree_of(x));
    if (x.scalar_type() != functions[0].scalar_type() || x.size(0) != functions[0].size(0) ||
        x.size(2) != functions[0].size(2)) {
      throw std::invalid_argument("functions must share dtype, batch and channels");
    }
    if (x.device() != functions[0].device()) {
      throw std::invalid_argument("functions must be on one device");
    }
  }
  return lmax;
}

// Makes a contiguous, uninitialized tensor [batch, (lmax_out + 1)^2, channels] for each output.
inline std::vector<torch::stable::Tensor> new_results(
    const std::vector<torch::stable::Tensor>& functions, const std::vector<int>& lmax_out) {
  const int64_t batch = functions[0].size(0), channels = functions[0].size(2);
  std::vector<torch::stable::Tensor> results;
  for (const int64_t degree : lmax_out) {
    results.push_back(new_tensor(functions[0], {batch, (degree + 1) * (degree + 1), channels}));
  }
  return results;
}

// Returns the key under which the plan of forms and degrees is kept.
inline std::string plan_key(const std::string& forms, const std::vector<int>& lmax,
                            const std::vector<int>& lmax_out) {
  std::string key = forms;
  for (int degree : lmax) key += ' ' + std::to_string(degree);
  key += ':';
  for (int degree : lmax_out) key += ' ' + std::to_string(degree);
  return key;
}

// Reads a string argument of a boxed call. The conversion by TORCH_BOX up to torch 2.13 copies the
// string to the heap and never frees the copy (pytorch/pytorch#191340).
inline std::string take_string(StableIValue value) {
  const auto handle = torch::stable::detail::to<StringHandle>(value);
  size_t length = 0;
  const char* data = nullptr;
  TORCH_ERROR_CODE_CHECK(torch_string_length(handle, &length));
  TORCH_ERROR_CODE_CHECK(torch_string_c_str(handle, &data));
  const std::string text(data, length);
  TORCH_ERROR_CODE_CHECK(torch_delete_string(handle));
  return text;
}

using SphereForms = std::vector<torch::stable::Tensor>(std::vector<torch::stable::Tensor> functions,
                                                       std::string forms,
                                                       std::vector<int64_t> lmax_out);

// Boxed form of an implementation of sphere_forms, as by TORCH_BOX but without its memory leak.
template <SphereForms* IMPLEMENTATION>
void box_sphere_forms(StableIValue* stack, uint64_t, uint64_t) {
  using torch::stable::detail::to;
  auto functions = to<std::vector<torch::stable::Tensor>>(stack[0]);
  std::string forms = take_string(stack[1]);
  auto lmax_out = to<std::vector<int64_t>>(stack[2]);
  stack[0] = torch::stable::detail::from(
      IMPLEMENTATION(std::move(functions), std::move(forms), std::move(lmax_out)));
}

}  // namespace equinet
