// The ops equinet::radial_spline and equinet::radial_spline_slope as functions, for other ops on the
// CPU.
#pragma once

#include "../filter_sum/call.h"

namespace equinet {

Tensor radial_spline(const Tensor& distances, const Tensor& rows, double spacing);

Tensor radial_spline_slope(const Tensor& distances, const Tensor& rows, double spacing,
                           const Tensor& weights);

}  // namespace equinet
