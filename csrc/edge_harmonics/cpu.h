// The ops equinet::edge_harmonics and equinet::edge_gradient as functions, for other ops on the CPU.
#pragma once

#include <tuple>

#include "../filter_sum/call.h"

namespace equinet {

std::tuple<Tensor, Tensor> edge_harmonics(const Tensor& vectors, int64_t lmax);

Tensor edge_gradient(const Tensor& vectors, const Tensor& by_length, const Tensor& by_harmonics);

}  // namespace equinet
