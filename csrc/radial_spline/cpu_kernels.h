// Entry points of the kernels behind equinet::radial_spline and equinet::radial_spline_slope.
//
// A spline of degree 5 is given by rows: value, slope and curvature of K functions at knots at equal
// distances from zero on, the slope times the spacing and the curvature times its square.
#pragma once

#include <stdint.h>

#include "../common/isa.h"
#include "../common/vectors.h"

namespace equinet {

template <class T>
struct RadialSplineJob {
  const T* distances;  // [edges]
  const T* rows;       // [3 (intervals + 1), functions]
  int64_t intervals, functions;
  T spacing;
  T* values;           // [edges, functions], or null
  const T* weights;    // [edges, functions] of the slopes, or null
  T* slopes;           // [edges], weighted sums of the slopes
};

// Values, and weighted slopes, at the edges first <= e < last.
EQUINET_DECLARE(
    template <class T> void spline_values(const RadialSplineJob<T>&, int64_t, int64_t);
    template <class T> void spline_slopes(const RadialSplineJob<T>&, int64_t, int64_t))

}  // namespace equinet
