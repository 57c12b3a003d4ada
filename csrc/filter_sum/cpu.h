// The ops equinet::filter_sum and equinet::filter_correlation as functions, for other ops on the
// CPU.
#pragma once

#include <tuple>

#include "call.h"

namespace equinet {

// Reads an index and refuses numbers outside of 0 <= i < size.
std::vector<int64_t> read_index(const char* name, const Tensor& index, int64_t size);

Tensor filter_sum(const Tensor& harmonics, const Tensor& radial,
                  const OptionalTensor& other_harmonics, const OptionalTensor& other_radial,
                  const Tensor& samples, const OptionalTensor& table, const Tensor& source,
                  const Tensor& target, int64_t targets);

std::tuple<Tensor, Tensor> filter_correlation(const OptionalTensor& harmonics,
                                              const OptionalTensor& radial, const Tensor& u,
                                              const Tensor& v, const OptionalTensor& table,
                                              const Tensor& source, const Tensor& target);

}  // namespace equinet
